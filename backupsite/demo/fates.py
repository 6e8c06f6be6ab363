"""What becomes of the demo's machines and runs: every state of a fleet, mostly good ones. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from backupsite.demo.machines import Machine
from backupsite.runs.states import State

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Fate(Enum):
    """How a machine stands today, and why."""

    WELL = auto()
    CLOSE = auto()
    OUTSIDE = auto()
    NEVER = auto()
    UNPROTECTED = auto()
    UNDECIDED = auto()
    PAUSED = auto()
    PARTIAL = auto()
    DAMAGED = auto()
    NEW_KEY = auto()


_FATES = {
    9: Fate.NEW_KEY, 17: Fate.OUTSIDE, 23: Fate.PARTIAL, 31: Fate.CLOSE, 38: Fate.UNDECIDED, 44: Fate.NEVER,
    52: Fate.PARTIAL, 58: Fate.OUTSIDE, 63: Fate.DAMAGED, 71: Fate.UNPROTECTED, 66: Fate.PAUSED,
    84: Fate.UNDECIDED, 90: Fate.PARTIAL,
}  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """Why a run failed, as its page says it."""

    code: str
    text: str
    remedy: str


UNREACHABLE = Failure(
    "unreachable",
    "The device does not answer on port 22: no route to host.",
    "Look whether it runs, and whether its firewall lets this console in.",
)
NEW_KEY = Failure(
    "host-key-changed",
    "The device showed another host key than the approved one. Nothing was sent to it.",
    "When it was set up anew, approve the new key on its page. Otherwise somebody is in between.",
)
FAILURES = (
    UNREACHABLE,
    Failure(
        "snapshot-full",
        "The snapshot of /dev/vg0/data ran full after 41 s: 2.0 GB were written meanwhile.",
        "Leave more room in the volume group, or back up when less is written.",
    ),
    Failure(
        "freeze-too-long",
        "Nothing was taken: PostgreSQL would have waited longer than the 10 s that the policy allows.",
        "The next run tries again. Allow more, or choose another time.",
    ),
)


@dataclass(frozen=True)
class Past:
    """One backup of a machine: when it began, how it ended, which of its sources' data was new (a multiple of
    the usual)."""

    began: datetime
    state: State
    failure: Failure | None
    news: float


def fate_of(machine: Machine) -> Fate:
    """Given a machine, return what the demo shows of it."""
    return _FATES.get(machine.place % 100, Fate.WELL)


def list_past(machine: Machine, now: datetime, *, dense: timedelta, whole: timedelta) -> Iterator[Past]:
    """Given a machine, yield its backups, newest first: each one for as long as `dense`, then one a day."""
    fate, chance = fate_of(machine), random.Random(machine.place)
    if fate in (Fate.NEVER, Fate.UNPROTECTED):
        return
    every = machine.role.every
    began = now - timedelta(seconds=chance.uniform(0.05, 0.7) * every.total_seconds())
    if fate is Fate.CLOSE:
        began = now - machine.role.rpo * 0.88
    if fate is Fate.PAUSED:
        began = now - machine.role.rpo * 1.4
    if fate in (Fate.OUTSIDE, Fate.NEW_KEY):
        failure = NEW_KEY if fate is Fate.NEW_KEY else UNREACHABLE
        lost = now - machine.role.rpo * 1.6
        while began > lost:
            yield Past(began, State.FAILED, failure, 0)
            began -= every
    is_newest = True
    while began > now - whole:
        yield _make_past(fate, began, chance, is_newest=is_newest)
        is_newest = False
        began -= every if began > now - dense else DAY


def _make_past(fate: Fate, began: datetime, chance: random.Random, *, is_newest: bool) -> Past:
    news = chance.lognormvariate(0, 0.5)
    if is_newest:
        return Past(began, State.WARNINGS if fate is Fate.PARTIAL else State.SUCCEEDED, None, news)
    luck = chance.random()
    if luck < 0.012:
        return Past(began, State.FAILED, chance.choice(FAILURES), 0)
    return Past(began, State.WARNINGS if luck < 0.03 else State.SUCCEEDED, None, news)


def is_kept(made_at: datetime, now: datetime, seen: set[tuple[str, object]]) -> bool:
    """Return whether a restore point would still be there: all of a day, then one a day, a week, a month.
    `seen` are the days, weeks and months that have theirs; newest first."""
    age = now - made_at
    slots: list[tuple[str, object]] = [("month", (made_at.year, made_at.month))]
    if age < 56 * DAY:
        slots.append(("week", made_at.isocalendar()[:2]))
    if age < 14 * DAY:
        slots.append(("day", made_at.date()))
    is_new = any(slot not in seen for slot in slots)
    seen.update(slots)
    return is_new or age < DAY
