"""A console's dispatch in simulated time: real rows, real claims and ends of runs; only the work is a number
of seconds, and the clock jumps from one event to the next.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from agents.errors import ConnectFailed
from agents.events import Phase
from backupsite.runs import breaker, due
from backupsite.runs.closing import Outcome, close, outcome_of
from backupsite.runs.dispatch import take_next
from backupsite.runs.lease import Lease
from backupsite.runs.models import Run
from backupsite.runs.states import State

TICK = timedelta(seconds=10)
# How long a worker waits for a device that does not answer.
CONNECT = timedelta(seconds=15)


@dataclass
class Simulation:
    """`is_dark` says of a device's id and a moment whether it does not answer then. `ended` is what was done:
    when, which device, and how it ended; `good` the devices that were backed up."""

    now: datetime
    is_dark: Callable[[int, datetime], bool]
    workers: int = 4
    takes: timedelta = timedelta(seconds=20)
    ended: list[tuple[datetime, int, State]] = field(default_factory=list)
    good: set[int] = field(default_factory=set)
    at_work: dict[int, tuple[Lease, int]] = field(default_factory=dict)

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Have everything that asks for the time be told the simulated one."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(timezone, "now", lambda: self.now)
            yield

    def run_until(self, is_over: Callable[[], bool], *, at_most: timedelta) -> None:
        """Tick and work until `is_over` or the time is up."""
        end = self.now + at_most
        events: list[tuple[datetime, int]] = [(self.now, -1)]  # -1 is the tick, others are workers
        while not is_over() and events and self.now < end:
            self.now, who = heapq.heappop(events)
            if who < 0:
                due.start_due(self.now)
                breaker.look(self.now)
                heapq.heappush(events, (self.now + TICK, -1))
            else:
                self._end(who)
            for worker in set(range(self.workers)) - self.at_work.keys():
                if (until := self._take(worker)) is None:
                    break
                heapq.heappush(events, (until, worker))

    def _take(self, worker: int) -> datetime | None:
        lease = take_next("bulk")
        if lease is None:
            return None
        device = Run.objects.values_list("device_id", flat=True).get(pk=lease.run_id)
        is_dark = self.is_dark(device, self.now)
        Run.objects.filter(pk=lease.run_id).update(phase=Phase.CONNECT if is_dark else Phase.TRANSFER)
        self.at_work[worker] = lease, device
        return self.now + (CONNECT if is_dark else self.takes)

    def _end(self, worker: int) -> None:
        lease, device = self.at_work.pop(worker)
        is_dark = lease.rows().filter(phase=Phase.CONNECT).exists()
        outcome = outcome_of(ConnectFailed("It does not answer.")) if is_dark else Outcome(State.SUCCEEDED)
        close(lease.rows(), outcome)
        if outcome.state.is_good:
            self.good.add(device)
        self.ended.append((self.now, device, outcome.state))
