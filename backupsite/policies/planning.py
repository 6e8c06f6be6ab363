"""When runs of a policy really start: its schedule, its spread, and the hours that it blocks. Pure.

What falls into blocked hours starts at their end, as one run however many times that were. A cold run is
moved by as much only as its window lasts: nobody chose that services stop hours later.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from typing import TYPE_CHECKING, NamedTuple, Self

from backupsite.policies.blocked import Blocked
from backupsite.policies.schedule import FAR_AHEAD, FEWEST_STARTS, Schedule, find_longest
from backupsite.policies.windows import COLD, WINDOW_LASTS, own_window

if TYPE_CHECKING:
    from backupsite.policies.models import Policy

# The longest back-off before a second attempt (backupsite/runs/closing.py).
RETRY_WAIT = timedelta(minutes=2)
# A cold window that is blocked so many times in a row never comes.
_MOST_LEFT_OUT = 400
_MOST_STARTS = 2500
_MOMENT = timedelta(microseconds=1)


class Start(NamedTuple):
    """When a run starts, and the time of the schedule that it stands for: an earlier one when that is
    blocked."""

    at: datetime
    due: datetime


@dataclass(frozen=True, slots=True)
class Planner:
    """A schedule and what moves its times. Made by `of` or `of_window`."""

    schedule: Schedule
    blocked: Blocked
    is_cold: bool = False

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Given a stored policy, return when its own schedule starts runs. Runs two queries unless its
        sources and blocked hours were prefetched."""
        own = own_window(policy.sources.all(), has_window=policy.cold_is_enabled)
        return cls(Schedule.of(policy), Blocked.of(policy), own == COLD)

    @classmethod
    def of_window(cls, policy: Policy) -> Self | None:
        """Given a stored policy, return when its cold window starts runs; None when it has none."""
        window = Schedule.of_window(policy)
        return cls(window, Blocked.of(policy), is_cold=True) if window is not None else None

    def check(self, moment: datetime) -> None:
        """Raise ValueError with one sentence for the form when no run would ever start."""
        self.schedule.check()
        self.blocked.check()
        is_by_hand = next(self.schedule.times_after(moment), None) is None
        if self.is_cold and not is_by_hand and self.next_after(moment) is None:
            raise ValueError(
                "The cold window lies in blocked hours that last longer than it waits "
                f"({WINDOW_LASTS // timedelta(hours=1)} hours): nothing would ever be copied cold."
            )

    def next_after(self, moment: datetime, *, spread_by: str = "") -> datetime | None:
        """Return the first start after `moment`, in UTC; with `spread_by`, a device's own. None: by hand, or
        never. Raise ValueError when `Schedule.check` would."""
        start = next(self.starts_after(moment, spread_by=spread_by), None)
        return start.at if start is not None else None

    def follow(self, due: datetime, now: datetime, *, spread_by: str = "") -> datetime | None:
        """Given what is due and is claimed now, return when it comes next: at the end of the hours that are
        blocked now, since it does not start in them, else by the schedule."""
        if not self.blocked.is_blocked(now):
            return self.next_after(now, spread_by=spread_by)
        free = self.blocked.free_after(now)
        is_missed = free is None or (self.is_cold and free - due > WINDOW_LASTS)
        return self.next_after(now, spread_by=spread_by) if is_missed else free

    def starts_after(self, moment: datetime, *, spread_by: str = "") -> Iterator[Start]:
        """Yield the starts after `moment`, in UTC, each later than the one before."""
        # What came up since these hours began waits for their end.
        began = self.blocked.began(moment)
        times = self.schedule.times_after(min(began - _MOMENT, moment), spread_by=spread_by)
        last, left_out = moment, 0
        for due in times:
            at = self._free(due)
            if at is None:
                left_out += 1
                if left_out > _MOST_LEFT_OUT:
                    return
            elif at > last:
                yield Start(at, due)
                last, left_out = at, 0

    def _free(self, due: datetime) -> datetime | None:
        at = self.blocked.free_after(due)
        is_missed = at is not None and self.is_cold and at - due > WINDOW_LASTS
        return None if is_missed else at

    def longest_gap(self, moment: datetime) -> timedelta | None:
        """Return the longest time between two of the next starts, of 400 days, with blocked hours of 2,500 at
        most, whatever part of the spread is a device's own. None: by hand only, or once."""
        return _find_gap(self, moment)

    def _reach(self, due: datetime) -> tuple[datetime, datetime] | None:
        """Return the earliest and the latest start that stands for a time of the schedule, of all devices,
        each less its own part of the spread. None: on some device no run may stand for it.

        A device whose part ends just in blocked hours starts at their end: nearly all of them later."""
        spread, first = self.schedule.spread, self._free(due)
        if first is None:
            return None
        latest = [first]
        for begins in self.blocked.begins_within(due, spread):
            ends = self._free(begins)
            if ends is None:
                return None
            latest.append(ends - (begins - due))
        return max(due, first - spread), max(latest)

    def achievable_rpo(self, moment: datetime, duration: timedelta) -> timedelta | None:
        """Given how long a run takes, return the oldest that the newest restore point gets when one attempt
        fails: interval + run + wait + run again, in whole minutes. None: by hand only.

        The spread is not in it where no hours are blocked: it is the same for each run of a device, so it
        cancels out."""
        gap = self.longest_gap(moment)
        if gap is None:
            return None
        worst = gap + duration + RETRY_WAIT + duration
        return timedelta(minutes=-(-worst // timedelta(minutes=1)))


@lru_cache(maxsize=16)
def _find_gap(planner: Planner, moment: datetime) -> timedelta | None:
    """Remembered, since a page asks for it and for the target that follows from it."""
    if not planner.blocked.hours:
        return planner.schedule.longest_gap(moment)
    if not planner.schedule.spread:
        return find_longest((start.at for start in planner.starts_after(moment)), moment, _MOST_STARTS)
    return _find_gap_of_all(planner, moment)


def _find_gap_of_all(planner: Planner, moment: datetime) -> timedelta | None:
    """Return what no gap between two starts of any device is longer than: each from its earliest to the next
    one's latest."""
    due = islice(planner.schedule.times_after(moment), _MOST_STARTS)
    near = takewhile(lambda each: each[0] < FEWEST_STARTS or each[1] < moment + FAR_AHEAD, enumerate(due))
    reached = (reach for _, at in near if (reach := planner._reach(at)) is not None)
    return max((later[1] - sooner[0] for sooner, later in pairwise(reached)), default=None)
