"""Every moment at which the clocks of a time zone are set, as the zone's own data says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
_STEP = timedelta(days=5)


@dataclass(frozen=True, slots=True)
class Change:
    """At `at` (UTC) the clocks of `zone` are set by `shift`: negative when they go back."""

    zone: str
    at: datetime
    shift: timedelta

    def __str__(self) -> str:
        return f"{self.zone} {self.at:%Y-%m-%d %H:%M} {self.shift}"


def list_changes(zone: str) -> list[Change]:
    """Given the name of a zone, return its changes of eleven years, the oldest first. None lies closer to
    another one than five days (Ramadan, the shortest time between two, is four weeks)."""
    info = ZoneInfo(zone)
    return [
        Change(zone, at, _offset(at, info) - _offset(at - timedelta(seconds=1), info))
        for at in _find(FIRST, LAST, info)
    ]


def _find(first: datetime, last: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    at = first
    while at < last:
        after = at + _STEP
        if _offset(at, zone) != _offset(after, zone):
            yield _halve(at, after, zone)
        at = after


def _halve(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first second of the new offset."""
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        if _offset(middle, zone) == _offset(before, zone):
            before = middle
        else:
            after = middle
    return after


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)
