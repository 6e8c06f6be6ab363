"""The next starts of a policy, as a person reads them: with their zone, and with what moved them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from backupsite.policies.planning import Planner, Start
from backupsite.policies.schedule import DAILY, EVERY, WEEKLY, find_zone

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A start in the policy's own time zone, and sentences about what is unusual about it."""

    at: datetime
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """Like "Sun 29 Mar, 03:30 CEST"."""
        return f"{self.at:%a} {self.at.day} {self.at:%b, %H:%M %Z}"


def list_upcoming(planner: Planner, moment: datetime, count: int) -> list[Upcoming]:
    """Return the next starts. Raise ValueError when `Schedule.check` would."""
    zone = find_zone(planner.schedule.time_zone)
    found: list[Upcoming] = []
    before = moment.astimezone(zone)
    for start in islice(planner.starts_after(moment), count):
        at = start.at.astimezone(zone)
        notes = (*_clock_notes(planner, start, before), *_blocked_notes(start, at))
        found.append(Upcoming(at, notes))
        before = at
    return found


def _blocked_notes(start: Start, at: datetime) -> list[str]:
    if start.at == start.due:
        return []
    due = start.due.astimezone(at.tzinfo)
    when = f"{due:%H:%M}" if due.date() == at.date() else f"{due:%a %H:%M}"
    return [f"{when} is blocked: it starts when these hours are over."]


def _clock_notes(planner: Planner, start: Start, before: datetime) -> list[str]:
    """Say that the clocks are set before this start and after the one before, and what that does to it."""
    due = start.due.astimezone(before.tzinfo)
    shift = (due.utcoffset() or timedelta(0)) - (before.utcoffset() or timedelta(0))
    schedule = planner.schedule
    is_fixed = schedule.kind in (DAILY, WEEKLY) and schedule.at_time is not None
    later = due.replace(fold=1).astimezone(UTC) - due.replace(fold=0).astimezone(UTC)
    if schedule.kind != EVERY and later > timedelta(0):
        word = "the first" if due.fold == 0 else "the second"
        return [f"The clocks go back on {_name(due)}: {due:%H:%M} comes twice, this is {word}."]
    if not shift or abs(due - before) > 400 * _DAY:
        return []
    changed = _find_change(before, due)
    way = "forward" if shift > timedelta(0) else "back"
    if is_fixed and schedule.at_time is not None and due.timetz().replace(tzinfo=None) != schedule.at_time:
        wanted, got = f"{schedule.at_time:%H:%M}", f"{due:%H:%M}"
        return [f"The clocks go {way} on {_name(changed)} and skip {wanted}: this run comes at {got}."]
    return [f"The clocks go {way} on {_name(changed)}."]


def _find_change(before: datetime, after: datetime) -> datetime:
    """Given two moments with another offset, return one within a minute after the change."""
    low, high = before.astimezone(UTC), after.astimezone(UTC)
    while high - low > timedelta(minutes=1):
        middle = low + (high - low) / 2
        if middle.astimezone(before.tzinfo).utcoffset() == before.utcoffset():
            low = middle
        else:
            high = middle
    return high.astimezone(before.tzinfo)


def _name(moment: datetime) -> str:
    return f"{moment.day} {moment:%B}"
