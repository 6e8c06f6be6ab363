"""What the flows share: how a caller stops them, and how phases are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from agents.errors import AgentError
from agents.events import Phase, PhaseEnded, PhaseStarted, Tell
from agents.session import Session

OpenSession = Callable[[], Session]


class Control(Protocol):
    """How the caller stops a flow and fences its writes. Threads may share it."""

    def raise_if_stopped(self) -> None:
        """Raise Cancelled when a person asked to stop, LeaseLost when another worker holds the run."""
        ...

    def is_current(self) -> bool:
        """Return True while this worker may write. Asked by the gateway before each change."""
        ...


class Unstoppable:
    """The control of a plain script: nobody stops it and nobody else writes."""

    def raise_if_stopped(self) -> None:
        return

    def is_current(self) -> bool:
        return True


@contextmanager
def phase(tell: Tell, name: Phase) -> Iterator[None]:
    """Tell that a phase starts, and when it ended well. A phase that fails is left open: it stopped there."""
    started = time.monotonic()
    tell(PhaseStarted(name))
    yield
    tell(PhaseEnded(name, time.monotonic() - started))


def blame(error: AgentError, cause: BaseException | None) -> AgentError:
    """Given an error of ours and what was really behind it, return the one to raise: the first cause wins.

    A run that a person cancelled shows up as a killed restic or a cut connection first.
    """
    return cause if isinstance(cause, AgentError) else error
