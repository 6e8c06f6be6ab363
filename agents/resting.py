"""Hours in which a backup may not work: it stands still until they are over, or ends and goes on later.

Nothing is interrupted that holds an application, that a stopped service waits for, or that prints a dump:
such a piece is finished, and the hours count before the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agents.errors import HoursBlocked
from agents.events import Said, Tell
from agents.flow import Control
from agents.runner import Runner, SupervisedProgram

# restic gives up a request that stands still for five minutes, and the gateway one that sends nothing for
# half of that: a program that is paused for hours works for a moment in between.
STILL_S, MOMENT_S = 55.0, 2.0
# It is asked for again and again: the device lets go by itself when that ends, and whatever else pauses the
# program there lets it go too.
_AGAIN_S, _HELD_S = 5.0, 15
_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Block:
    """Blocked hours that last now: what a run does in them, the time by the policy's clock, and their end."""

    is_stop: bool
    now: str
    ends: str


class Hours(Protocol):
    """When a run may work."""

    def look(self) -> Block | None:
        """Return the blocked hours that last now, None when it may work."""
        ...


class AnyHour:
    """No hours are blocked."""

    def look(self) -> Block | None:
        return None


ANY_HOUR = AnyHour()


class Resting:
    """Keeps the hours in one run."""

    def __init__(self, hours: Hours, runner: Runner, control: Control, tell: Tell) -> None:
        self._hours = hours
        self._runner = runner
        self._control = control
        self._tell = tell
        self._is_told = False

    def wait(self) -> None:
        """Return when work may begin. Raise HoursBlocked when it must not, and what the control raises."""
        while self._look() is not None:
            self._control.raise_if_stopped()
            time.sleep(_POLL_S)

    def follow(self, program: SupervisedProgram) -> Callable[[], bool]:
        """Given a program that holds nothing, return what keeps the hours when it is called every second: it
        says whether the program stands still. It raises HoursBlocked where the run has to end."""
        return _Follower(self._look, self._runner, program)

    def _look(self) -> Block | None:
        block = self._hours.look()
        if block is None:
            if self._is_told:
                self._tell(Said("The blocked hours are over: the backup goes on."))
            self._is_told = False
            return None
        if block.is_stop:
            raise HoursBlocked(
                f"Stopped at {block.now} because blocked hours of the policy began. What was sent is kept.",
                remedy=f"It goes on from there when they are over, at {block.ends}.",
            )
        if not self._is_told:
            self._is_told = True
            self._tell(Said(f"Paused at {block.now}: the hours until {block.ends} are blocked."))
        return block


class _Follower:
    def __init__(self, look: Callable[[], Block | None], runner: Runner, program: SupervisedProgram) -> None:
        self._look = look
        self._runner = runner
        self._program = program
        self._since: float | None = None  # when the round of standing still and working began
        self._asked = 0.0
        self._is_still = False

    def __call__(self) -> bool:
        is_blocked, now = self._look() is not None, time.monotonic()
        if not is_blocked:
            self._since = None
            self._let_go()
            return False
        if self._since is None or now - self._since >= STILL_S + MOMENT_S:
            self._since = now
        if now - self._since >= STILL_S:
            self._let_go()
        elif not self._is_still or now - self._asked >= _AGAIN_S:
            self._is_still, self._asked = self._runner.pause(self._program, _HELD_S), now
        return True

    def _let_go(self) -> None:
        if self._is_still:
            self._runner.resume(self._program)
        self._is_still = False
