"""Which device was drilled on which day: the picture of the last 30 days. Pure, but for one query."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.recovery.drill_models import Drill
from backupsite.recovery.drill_words import RESULTS
from backupsite.web.formatting import format_count
from backupsite.web.status import Status

DAYS = 30
# Of several drills on a day the worst is drawn.
WORST_FIRST = (Drill.FAILED, Drill.IMPOSSIBLE, Drill.PASSED)


@dataclass(frozen=True)
class Cell:
    """A day of a device. Without a drill there is no `status`; `words` say all of it."""

    day: date
    status: Status | None = None
    url: str = ""
    count: int = 0

    @property
    def words(self) -> str:
        label = self.status.label if self.status is not None else "No drill"
        more = f", {format_count(self.count)} drills" if self.count > 1 else ""
        return f"{self.day.day} {self.day:%b}: {label}{more}"


@dataclass(frozen=True)
class Row:
    device: Device
    cells: tuple[Cell, ...]


def list_days(now: datetime) -> list[date]:
    """Given the server's time, return the days that are drawn, oldest first, in the time of the pages."""
    today = timezone.localtime(now).date()
    return [today - timedelta(days=back) for back in reversed(range(DAYS))]


def read_matrix(devices: Sequence[Device], now: datetime) -> list[Row]:
    """Given the devices of a page, return their rows. Runs one query."""
    since = now - timedelta(days=DAYS)
    drills = (
        Drill.objects.telling().filter(device__in=devices, at__gte=since).defer("checks", "hashes", "notes")
    )
    return make_matrix(devices, drills, list_days(now))


def make_matrix(devices: Iterable[Device], drills: Iterable[Drill], days: Sequence[date]) -> list[Row]:
    """Given devices and drills, return a row for each device. Pure."""
    by_day: dict[tuple[int, date], list[Drill]] = {}
    for drill in drills:
        by_day.setdefault((drill.device_id, timezone.localtime(drill.at).date()), []).append(drill)
    return [
        Row(device, tuple(_make_cell(day, by_day.get((device.pk, day), [])) for day in days))
        for device in devices
    ]


def _make_cell(day: date, drills: list[Drill]) -> Cell:
    if not drills:
        return Cell(day)
    worst = min(drills, key=lambda drill: WORST_FIRST.index(drill.result))
    return Cell(day, RESULTS[worst.result], worst.get_absolute_url(), len(drills))
