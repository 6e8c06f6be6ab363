"""Space on the page of the repositories: a picture for each storage, and which devices take it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from django.db.models import Sum
from django.utils.safestring import SafeString

from backupsite.repositories import space
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.space_chart import draw_space

MOST_DEVICES = 10


@dataclass(frozen=True)
class StorageSpace:
    """A storage, its picture, and why somebody has to look at it ("": nothing)."""

    storage: Storage
    chart: SafeString
    alarm: str


@dataclass(frozen=True)
class DeviceSpace:
    """What a device takes. `per_day` is None until two days were measured."""

    repository: Repository
    used_bytes: int
    per_day: float | None
    share_percent: int


def list_storages(today: date) -> list[StorageSpace]:
    """Return every storage that was measured. Runs two queries."""
    samples = space.read_storages(today)
    found = []
    for storage in Storage.objects.filter(pk__in=samples).order_by("pk"):
        outlook = space.look_ahead(samples[storage.pk], storage.free_bytes)
        most = storage.total_bytes or max(each.used_bytes for each in samples[storage.pk])
        chart = draw_space(f"space-{storage.pk}", samples[storage.pk], most, outlook, today)
        alarm = space.find_alarm(storage.total_bytes, storage.free_bytes, outlook, today)
        found.append(StorageSpace(storage, chart, alarm))
    return found


def list_devices(today: date) -> list[DeviceSpace]:
    """Return the devices that take most. Runs three queries, however many devices there are."""
    growth = space.read_growth(today)
    rows = Repository.objects.exclude(measured_at=None).select_related("device", "copy_of__device")
    total = rows.aggregate(total=Sum("used_bytes"))["total"] or 1
    return [
        DeviceSpace(each, each.used_bytes, growth.get(each.pk), round(100 * each.used_bytes / total))
        for each in rows.order_by("-used_bytes", "pk")[:MOST_DEVICES]
    ]
