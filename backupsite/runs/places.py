"""Where a run stands among those that wait: a moment, counted once, when it is asked for. The earliest goes
first. Pure.

The moment is when the run was asked for, moved by its priority and by how late its device is against its
target; both moves are bounded, whatever the numbers are. So nothing starves: what has waited for
LONGEST_OVERTAKEN goes before everything that is asked for later, and a device that fails for ever, and so is
later every day, gets no further ahead. Among those that stand equally well (within STEP) small ones go first.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

# The most that lateness moves a place, either way, and what one step of priority moves it. Asked for within
# BY_PRIORITY - 2 * BY_TARGET of each other, all of one priority go before all of the next.
BY_TARGET = timedelta(hours=3)
BY_PRIORITY = timedelta(hours=8)
STEP = timedelta(minutes=5)
LONGEST_OVERTAKEN = 2 * (BY_PRIORITY + BY_TARGET) + STEP
# Of Policy.priority: before others, as others, after others.
FIRST, USUAL, LAST = 0, 1, 2
_LARGEST_BITS = 63


def place_backup(
    asked_at: datetime, *, priority: int, wanted_by: datetime | None, size_bytes: int | None
) -> datetime:
    """Given when a backup was asked for, the priority of its policy, when its device misses its target (None:
    it has none), and how much its repository holds (None: not known, a first backup), return its place."""
    late_by = timedelta(0) if wanted_by is None else asked_at - wanted_by
    place = asked_at + (priority - USUAL) * BY_PRIORITY - _bound(late_by)
    return _floor(place) + STEP * _share_of(size_bytes)


def place_other(asked_at: datetime, *, priority: int) -> datetime:
    """Given when other work was asked for and its priority, return its place."""
    return asked_at + (priority - USUAL) * BY_PRIORITY


def place_asked(asked_at: datetime) -> datetime:
    """Given when a person asked for something, return its place: before all that is asked for by itself then,
    after all of that which has waited for long."""
    return asked_at - BY_PRIORITY - BY_TARGET


def _bound(late_by: timedelta) -> timedelta:
    """Squeeze any lateness to less than BY_TARGET either way: who is later stays later."""
    return BY_TARGET * (late_by / (BY_TARGET + abs(late_by)))


def _floor(moment: datetime) -> datetime:
    epoch = datetime(2020, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // STEP * STEP


def _share_of(size_bytes: int | None) -> float:
    """Return 0 to 1: sizes by their order of magnitude, what is not known after all that is."""
    if size_bytes is None:
        return (_LARGEST_BITS + 0.5) / (_LARGEST_BITS + 1)
    return min(math.log2(max(0, size_bytes) + 1), _LARGEST_BITS) / (_LARGEST_BITS + 1)
