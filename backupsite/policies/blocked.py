"""Hours in which no run of a policy starts. Pure: no database, no clock.

Hours are hours of the clock on the wall in the policy's time zone. Where the clocks are set the block is
never shorter than it says: an hour that comes twice is blocked twice, one that is skipped ends with the jump.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self
from zoneinfo import ZoneInfo

from backupsite.policies.schedule import WEEKDAYS, find_zone

if TYPE_CHECKING:
    from backupsite.policies.models import Policy

EVERY_DAY = "0123456"
# A free minute that there is in no two weeks is there in none.
_LOOK_AHEAD = timedelta(days=15)
_DAY = timedelta(days=1)


class Hours(Protocol):
    """Hours of some days of the week, as the model BlockedHours says them."""

    @property
    def weekdays(self) -> str: ...
    @property
    def begins(self) -> time: ...
    @property
    def ends(self) -> time: ...


class Span(NamedTuple):
    """From its first moment to the first one after it, in UTC."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Blocked:
    """The blocked hours of a policy: (weekdays, begins, ends), and their time zone."""

    hours: tuple[tuple[str, time, time], ...]
    time_zone: str

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Given a stored policy, return its blocked hours. Runs a query unless they were prefetched."""
        return cls.make(policy.blocked_hours.all(), policy.time_zone)

    @classmethod
    def make(cls, rows: Iterable[Hours], time_zone: str) -> Self:
        return cls(tuple(sorted((row.weekdays, row.begins, row.ends) for row in rows)), time_zone)

    def check(self) -> None:
        """Raise ValueError with one sentence for the form when these hours leave no time free."""
        find_zone(self.time_zone)
        # Any week of a year without a change of the clocks in it would do.
        if self.free_after(datetime(2026, 1, 5, tzinfo=UTC)) is None:
            raise ValueError("These hours block the whole week: no backup could ever start.")

    def is_blocked(self, moment: datetime) -> bool:
        return self._find(moment) is not None

    def free_after(self, moment: datetime) -> datetime | None:
        """Return the moment itself, or the end of the hours in which it lies; None when they never end."""
        free = moment
        while (span := self._find(free)) is not None:
            free = span.ends
            if free - moment > _LOOK_AHEAD:
                return None
        return free

    def began(self, moment: datetime) -> datetime:
        """Return when the hours began in which a moment lies; the moment itself when it is free."""
        first = moment
        span = self._find(moment)
        while span is not None and moment - first < _LOOK_AHEAD:
            first = span.begins
            span = self._find(first - timedelta(microseconds=1))
        return first

    def begins_within(self, moment: datetime, within: timedelta) -> list[datetime]:
        """Return when hours begin after a moment, up to so much later."""
        if not self.hours:
            return []
        zone, last = find_zone(self.time_zone), moment + within
        day, found = moment.astimezone(zone).date() - _DAY, list[datetime]()
        while day <= last.astimezone(zone).date():
            found += [span.begins for span in _spans(self, day) if moment < span.begins <= last]
            day += _DAY
        return found

    def _find(self, moment: datetime) -> Span | None:
        """Return the longest of the spans in which a moment lies."""
        if not self.hours:
            return None
        today = moment.astimezone(find_zone(self.time_zone)).date()
        # Hours that a change of the clocks moved may have begun on the date after their own.
        spans = (span for day in (today - _DAY, today) for span in _spans(self, day))
        return max((span for span in spans if span.begins <= moment < span.ends), default=None)

    def sentences(self) -> list[str]:
        """Return the hours in words, like "Monday to Friday, 08:00 to 18:00"."""
        return [f"{_name_days(days)}, {_name_hours(begins, ends)}" for days, begins, ends in self.hours]


@lru_cache(maxsize=4096)
def _spans(blocked: Blocked, day: date) -> tuple[Span, ...]:
    """The hours that begin on a date. Kept: a tick asks for thousands of devices on the same day."""
    zone = find_zone(blocked.time_zone)
    found = []
    for weekdays, begins, ends in blocked.hours:
        if str(day.weekday()) in weekdays:
            last = day if ends > begins else day + _DAY
            span = Span(_moment(day, begins, zone, fold=0), _moment(last, ends, zone, fold=1))
            if span.begins < span.ends:
                found.append(span)
    return tuple(found)


def _moment(day: date, at: time, zone: ZoneInfo, *, fold: int) -> datetime:
    """Return when the clocks show a time: of two such moments by `fold` the first or the last, of none the
    moment at which they skip it."""
    wall = datetime.combine(day, at.replace(tzinfo=None, fold=0))
    first, last = (wall.replace(tzinfo=zone, fold=each).astimezone(UTC) for each in (0, 1))
    if first <= last:
        return last if fold else first
    # Skipped: read with the offset of before it lies after the change, and the other way round.
    before, after = last, first
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        if middle.astimezone(zone).replace(tzinfo=None) < wall:
            before = middle
        else:
            after = middle
    return after


def _name_days(weekdays: str) -> str:
    """Days in words: a row of at least three as "Monday to Friday", others one by one."""
    if weekdays == EVERY_DAY:
        return "every day"
    numbers = sorted(int(each) for each in weekdays)
    names = [WEEKDAYS[number] for number in numbers]
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{names[0]} to {names[-1]}"
    return ", ".join(names[:-1]) + (" and " if names[:-1] else "") + names[-1]


def _name_hours(begins: time, ends: time) -> str:
    if begins == ends == time(0):
        return "all day"
    return f"{begins:%H:%M} to {ends:%H:%M}" + ("" if ends > begins else " of the next day")
