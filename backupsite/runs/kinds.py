"""What a kind of run does: the contract between this app and those above it, which register their kinds.

`runs` may not import `recovery` or `console`; their AppConfig.ready calls `register`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from agents.errors import AgentError
from agents.events import Tell
from backupsite.runs.states import State

if TYPE_CHECKING:
    from backupsite.fleet.models import Device
    from backupsite.runs.models import Run

QueueName = Literal["interactive", "bulk"]


class WorkerStopped(BaseException):
    """The worker's process was told to end. Not an Exception: no flow may catch it, every flow undoes."""


class PutOff(Exception):
    """The work of a run cannot begin now, and that is no failure: it waits until then, as the same run.

    `text` is why, in words that follow "It waits: "."""

    def __init__(self, until: datetime, code: str, text: str) -> None:
        super().__init__(text)
        self.until = until
        self.code = code
        self.text = text


class HandOver(Exception):
    """The rest of a run is the work of the node of another device, whose repository lies there.

    `request` is what the run asks for from now on. What was told so far stays."""

    def __init__(self, beside: Device, request: dict[str, Any]) -> None:
        super().__init__(f"It goes on beside the repository of {beside}.")
        self.beside = beside
        self.request = request


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: SUCCEEDED or WARNINGS, or FAILED with the reason."""

    state: State
    error: AgentError | None = None


class Control(Protocol):
    """What a flow asks while it works. Every method may be called from any thread."""

    @property
    def stop_event(self) -> threading.Event:
        """Set when the run was cancelled or its lease was lost: for waits that must end at once."""
        ...

    def raise_if_stopped(self) -> None:
        """Raise Cancelled when a person cancelled the run, LeaseLost when another worker may hold it."""
        ...

    def is_current(self) -> bool:
        """Return True while this worker is sure to hold the run. Does no input or output."""
        ...

    def in_transaction(self, callback: Callable[[], None]) -> None:
        """Have `callback` write results in the transaction that closes the run, whatever its final state is.

        It runs only if this worker still holds the run, in the thread that runs `work`. Callbacks run in the
        order in which they were given; when one raises, nothing is written and the run is closed as errored.
        """
        ...


class Kind(Protocol):
    """One kind of run. Stateless: one object serves every run of a process."""

    @property
    def name(self) -> str: ...

    @property
    def queue(self) -> QueueName: ...

    @property
    def may_retry(self) -> bool:
        """True when doing it again without asking is safe and useful."""
        ...

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        """Do the run's work. Raise AgentError when it fails, PutOff before it did anything, HandOver when
        another node does the rest; WorkerStopped passes through the undo steps."""
        ...


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    """Make a kind known. Raise ValueError when the name is taken by another object."""
    if _kinds.setdefault(kind.name, kind) is not kind:
        raise ValueError(f"The kind {kind.name!r} is registered twice.")


def find(name: str) -> Kind:
    """Given a run's kind, return what does it. Raise LookupError when nobody registered it."""
    try:
        return _kinds[name]
    except KeyError:
        raise LookupError(f"No kind of run is called {name!r}.") from None


def names_in(queue: QueueName) -> list[str]:
    """Return the kinds of run that workers of this queue do."""
    return [name for name, kind in _kinds.items() if kind.queue == queue]
