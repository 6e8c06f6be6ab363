"""When a policy's next times are. Pure: no database, no clock.

A *time* of a schedule is when runs may start. Devices of one policy do not all start at once: each has its
own stable *spread* after the schedule's time, so that its runs stay as far apart as the schedule's times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, pairwise, takewhile
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from backupsite.policies.models import Policy

MANUAL, EVERY, DAILY, WEEKLY, CRON = "manual", "every", "daily", "weekly", "cron"
SHORTEST_MINUTES, LONGEST_MINUTES = 5, 7 * 24 * 60
# A longer spread would move runs into another day than the one that was chosen.
LONGEST_SPREAD = 12 * 60
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# How far the longest time between two runs is looked for: over every weekend, month and change of the clocks.
FEWEST_STARTS, MOST_STARTS, FAR_AHEAD = 60, 12_000, timedelta(days=400)
NEVER = "This cron expression never comes true."


@dataclass(frozen=True, slots=True)
class Schedule:
    """The fields of a policy that say when. Made by `Schedule.of`, checked by `check`."""

    kind: str
    every_minutes: int = 60
    at_time: time | None = None
    weekday: int | None = None
    cron: str = ""
    time_zone: str = "UTC"
    spread_minutes: int | None = None  # None: what the kind proposes

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Given a policy, saved or not, return its schedule."""
        return cls(
            kind=policy.schedule,
            every_minutes=policy.every_minutes,
            at_time=policy.at_time,
            weekday=policy.weekday,
            cron=policy.cron,
            time_zone=policy.time_zone,
            spread_minutes=policy.spread_minutes,
        )

    @classmethod
    def of_window(cls, policy: Policy) -> Self | None:
        """Given a policy, saved or not, return the schedule of its cold window; None when it has none."""
        if not policy.cold_is_enabled:
            return None
        return cls(
            kind=policy.cold_schedule,
            at_time=policy.cold_at_time,
            weekday=policy.cold_weekday,
            cron=policy.cold_cron,
            time_zone=policy.time_zone,
            spread_minutes=policy.spread_minutes,
        )

    def check(self) -> None:
        """Raise ValueError with one sentence for the form when there is no such schedule."""
        zone = find_zone(self.time_zone)
        if self.kind == EVERY and not SHORTEST_MINUTES <= self.every_minutes <= LONGEST_MINUTES:
            raise ValueError("Choose an interval from 5 minutes to 7 days.")
        if self.kind in (DAILY, WEEKLY) and self.at_time is None:
            raise ValueError("Say at what time, like 02:30.")
        if self.kind == WEEKLY and (self.weekday is None or not 0 <= self.weekday <= 6):
            raise ValueError("Choose a day of the week.")
        if self.kind == CRON:
            _read_cron(self.cron, datetime(2026, 1, 1, tzinfo=UTC), zone)
        if self.spread_minutes is not None and not 0 <= self.spread_minutes <= LONGEST_SPREAD:
            raise ValueError(f"Spread the starts over at most {LONGEST_SPREAD // 60} hours.")
        if self.kind not in (MANUAL, EVERY, DAILY, WEEKLY, CRON):
            raise ValueError("Choose when backups are made.")

    @property
    def spread(self) -> timedelta:
        """The longest time between the schedule's time and a device's own start."""
        if self.spread_minutes is not None:
            spread = timedelta(minutes=self.spread_minutes)
            return min(spread, timedelta(minutes=self.every_minutes)) if self.kind == EVERY else spread
        if self.kind == EVERY:
            return min(timedelta(minutes=self.every_minutes), timedelta(hours=1))
        if self.kind in (DAILY, WEEKLY):
            return timedelta(minutes=15)
        return timedelta(0)

    def spread_of(self, spread_by: str) -> timedelta:
        """Given what names a device for ever, return its own part of the spread, in whole seconds."""
        seconds = int(self.spread.total_seconds())
        if not spread_by or seconds == 0:
            return timedelta(0)
        digest = hashlib.sha256(spread_by.encode()).digest()
        return timedelta(seconds=int.from_bytes(digest[:8]) % seconds)

    def next_after(self, moment: datetime, *, spread_by: str = "") -> datetime | None:
        """Return the first time after `moment`, in UTC; with `spread_by`, a device's own. None: by hand only.

        Raise ValueError when `check` would.
        """
        return next(self.times_after(moment, spread_by=spread_by), None)

    def upcoming(self, moment: datetime, count: int = 5) -> list[datetime]:
        """Return the next times, in the schedule's own time zone, for a page to show."""
        zone = find_zone(self.time_zone)
        return [at.astimezone(zone) for at in islice(self.times_after(moment), count)]

    def times_after(self, moment: datetime, *, spread_by: str = "") -> Iterator[datetime]:
        """Yield the times after `moment`, in UTC, each later than the one before."""
        self.check()
        own = self.spread_of(spread_by)
        for at in self._plain_times(moment - own):
            yield at + own

    def _plain_times(self, moment: datetime) -> Iterator[datetime]:
        zone = find_zone(self.time_zone)
        if self.kind == EVERY:
            return _every(moment, timedelta(minutes=self.every_minutes))
        if self.kind == CRON:
            return _read_cron(self.cron, moment, zone)
        if self.kind in (DAILY, WEEKLY) and self.at_time is not None:
            return _daily(moment, self.at_time, zone, self.weekday if self.kind == WEEKLY else None)
        return iter(())

    def longest_gap(self, moment: datetime) -> timedelta | None:
        """Return the longest time between two times of the next 400 days, of 60 at least and 12,000 at most.
        None: by hand only, or once."""
        if self.kind == EVERY:
            return timedelta(minutes=self.every_minutes)
        return find_longest(self.times_after(moment), moment)

    def sentence(self) -> str:
        """Return the schedule in words, like "Daily at 02:30 (Europe/Berlin)"."""
        at = f"at {self.at_time:%H:%M} ({self.time_zone})" if self.at_time is not None else ""
        match self.kind:
            case "every":
                return _every_sentence(self.every_minutes)
            case "daily":
                return f"Daily {at}"
            case "weekly":
                return f"Every {WEEKDAYS[self.weekday or 0]} {at}"
            case "cron":
                return f"Cron {' '.join(self.cron.split())} ({self.time_zone})"
        return "Only by hand"


def find_longest(times: Iterator[datetime], moment: datetime, most: int = MOST_STARTS) -> timedelta | None:
    """Given times from a moment on, return the longest time between two; of how many, `Schedule.longest_gap`
    says."""
    last = moment + FAR_AHEAD
    near = takewhile(lambda each: each[0] < FEWEST_STARTS or each[1] < last, enumerate(islice(times, most)))
    return max((later - sooner for (_, sooner), (_, later) in pairwise(near)), default=None)


def find_zone(name: str) -> ZoneInfo:
    """Given a name of the IANA database, return its zone. Raise ValueError when there is none."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError("There is no time zone of this name; write one like Europe/Berlin.") from None


def _every(moment: datetime, interval: timedelta) -> Iterator[datetime]:
    """Elapsed time, aligned to the epoch: an hour is an hour on every day of the year."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    at = epoch + ((moment - epoch) // interval + 1) * interval
    while True:
        yield at
        at += interval


def _daily(moment: datetime, at_time: time, zone: ZoneInfo, weekday: int | None) -> Iterator[datetime]:
    """Once on each local date. A time that the clocks skip is taken as far after the change as it was meant
    to be after midnight's offset; of a time that comes twice, the first."""
    day = moment.astimezone(zone).date() - timedelta(days=1)
    while True:
        at = _in_zone(day, at_time, zone)
        if at > moment and (weekday is None or day.weekday() == weekday):
            yield at
        day += timedelta(days=1)


def _in_zone(day: date, at_time: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at_time.replace(second=0, microsecond=0, fold=0), zone).astimezone(UTC)


def _read_cron(expression: str, moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the times of a cron expression. Raise ValueError when it is none or never comes true."""
    if len(expression.split()) != 5:
        raise ValueError("Write five fields, like 30 2 * * 1-5.")
    try:
        times = CronSim(_say_what_repeats(expression.split()), moment.astimezone(zone))
        first = next(times)
    except CronSimError:
        if _is_day_of_no_month(expression.split()):
            raise ValueError(NEVER) from None
        raise ValueError("This is not a cron expression; write five fields, like 30 2 * * 1-5.") from None
    except StopIteration:
        raise ValueError(NEVER) from None
    return _cron_times(first, times, moment)


def _is_day_of_no_month(fields: list[str]) -> bool:
    """Return whether only the day is wrong, which none of its months has: CronSim knows no such words."""
    day = fields[2]
    try:
        CronSim(_say_what_repeats([*fields[:2], "*", *fields[3:]]), datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return day.isascii() and day.isdigit() and 1 <= int(day) <= 31


def _say_what_repeats(fields: list[str]) -> str:
    """Return the expression so that hours of the day are hours of the clock on the wall: of a time that comes
    twice the first, of one that the clocks skip the moment after it. Only a schedule of every hour runs in
    the doubled hour too. CronSim, as cron does, takes any field with a star for the latter."""
    minutes, hours, *days = fields
    if hours in ("*", "*/1", "0-23", "0-23/1"):
        hours = "*"
    else:
        minutes, hours = minutes.replace("*", "0-59"), hours.replace("*", "0-23")
    return " ".join((minutes, hours, *days))


def _cron_times(first: datetime, times: Iterator[datetime], moment: datetime) -> Iterator[datetime]:
    last = moment
    at = first.astimezone(UTC)
    while True:
        # Where the clocks go back an expression may give the same moment twice.
        if at > last:
            yield at
            last = at
        following = next(times, None)
        if following is None:
            return
        at = following.astimezone(UTC)


def _every_sentence(minutes: int) -> str:
    for size, word in ((7 * 24 * 60, "week"), (24 * 60, "day"), (60, "hour"), (1, "minute")):
        if minutes % size == 0:
            count = minutes // size
            return f"Every {word}" if count == 1 else f"Every {count} {word}s"
    raise ValueError("A schedule has whole minutes.")
