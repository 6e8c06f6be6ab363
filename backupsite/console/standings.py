"""What several pages tell about devices beside their exposure. Few queries for any number of devices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, Max, Min, OuterRef, QuerySet, Subquery

from backupsite.fleet.models import Device, HostKey
from backupsite.policies.models import PolicyDevice
from backupsite.runs.models import Run
from backupsite.runs.states import State

GOOD = (State.SUCCEEDED, State.WARNINGS)
UNSUCCESSFUL = (State.FAILED, State.ERRORED, State.LOST)
# Made by looking around, not by protecting: not told on the pages of the fleet and of a device.
QUIET_KINDS = (Run.BROWSE, Run.DOWNLOAD)
# An older failure without a good run since shows as a device outside its target anyway.
LOOK_BACK = timedelta(days=14)


def newest_backups(device_ids: Collection[int]) -> dict[int, Run]:
    """Given devices, return the newest backup run of each, whatever its state. None has no entry."""
    newest = Run.objects.filter(device=OuterRef("pk"), kind=Run.BACKUP).order_by("-number").values("pk")[:1]
    picked = Device.objects.filter(pk__in=device_ids).annotate(newest=Subquery(newest)).values("newest")
    return {run.device_id: run for run in Run.objects.filter(pk__in=picked)}


@dataclass(frozen=True)
class Failure:
    """The newest backup that failed with no good one after it, and how many did so in a row."""

    run: Run
    count: int


@dataclass(frozen=True)
class FailureCount:
    """A Failure whose run was not read: a whole fleet may fail at once. `number` is that run's."""

    number: int
    count: int


def count_failures(now: datetime, device_ids: Collection[int] | None = None) -> dict[int, FailureCount]:
    """Return the devices whose backups fail now: a run that waits or works does not hide it."""
    later_good = Run.objects.filter(
        device=OuterRef("device"), kind=Run.BACKUP, state__in=GOOD, number__gt=OuterRef("number")
    )
    failed = Run.objects.filter(
        ~Exists(later_good),
        kind=Run.BACKUP,
        state__in=UNSUCCESSFUL,
        queued_at__gte=now - LOOK_BACK,
    )
    if device_ids is not None:
        failed = failed.filter(device_id__in=device_ids)
    rows = failed.order_by().values_list("device_id").annotate(newest=Max("number"), count=Count("pk"))
    return {device_id: FailureCount(newest, count) for device_id, newest, count in rows}


def read_failures(counts: dict[int, FailureCount], device_ids: Collection[int]) -> dict[int, Failure]:
    """Given counts and the devices that are shown, return their failures with the runs."""
    numbers = [counts[pk].number for pk in device_ids if pk in counts]
    return {
        run.device_id: Failure(run, counts[run.device_id].count)
        for run in Run.objects.filter(number__in=numbers)
    }


def next_dues(device_ids: Collection[int]) -> dict[int, datetime]:
    """Given devices, return when the next scheduled run of each is due."""
    rows = PolicyDevice.objects.filter(
        device_id__in=device_ids, policy__is_enabled=True, next_due__isnull=False
    ).values_list("device_id")
    return dict(rows.annotate(due=Min("next_due")).values_list("device_id", "due"))


def waiting_host_keys(device_ids: Collection[int] | None = None) -> dict[int, bool]:
    """Given devices or all, return those whose host key needs a person: True when an approved one changed.

    A key of a further type, beside an approved one, waits without hurry: the device is reached already.
    """
    pending_keys = HostKey.objects.filter(state=HostKey.PENDING)
    if device_ids is not None:
        pending_keys = pending_keys.filter(device_id__in=device_ids)
    approved_keys = HostKey.objects.filter(
        state=HostKey.APPROVED, device__in=pending_keys.values("device_id")
    )
    pending, approved = _types_by_device(pending_keys), _types_by_device(approved_keys)
    return {
        device_id: device_id in approved
        for device_id, types in pending.items()
        if device_id not in approved or types & approved[device_id]
    }


def _types_by_device(keys: QuerySet[HostKey]) -> dict[int, set[str]]:
    types: dict[int, set[str]] = {}
    for device_id, key_type in keys.values_list("device_id", "key_type"):
        types.setdefault(device_id, set()).add(key_type)
    return types
