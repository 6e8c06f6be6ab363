"""What every snapshot provider is: it says what it can do and why, takes, and drops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from agents.binds import Bind
from agents.commands import Command
from agents.events import Consistency
from agents.facts import DeviceFacts, RunsCommands


class Owes(RunsCommands, Protocol):
    """What a provider needs of a runner: commands, the journal, and the name that all its traces carry."""

    name: str

    def owe(self, key: str, undo: Command, *, within_s: float | None = None) -> None: ...

    def settle(self, key: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """A provider can take this source. Sentences for the plan."""

    consistency: Consistency
    reason: str
    cost: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A provider cannot take this source, why, and what a person could do about it."""

    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken: where to read it, how good it is, and what has to be settled to drop it.

    `froze_ms`: how long we held the application. `held_ms`: how long the file system's own commit can have
    held a writer, as measured on the device."""

    method: str
    consistency: Consistency
    binds: tuple[Bind, ...]
    keys: tuple[str, ...] = ()
    froze_ms: float = 0.0
    held_ms: float = 0.0


class SnapshotProvider(ABC):
    """One way to read files that do not move. A file of this package holds one."""

    name: ClassVar[str]
    label: ClassVar[str]

    @abstractmethod
    def can_take(self, path: str, facts: DeviceFacts) -> Claim | Refusal:
        """Given a real path and facts, return what a snapshot of it would be worth, or why there is none."""

    @abstractmethod
    def take(self, runner: Owes, paths: Sequence[str], facts: DeviceFacts) -> Taken:
        """Given real paths that it claims, take them all at once, each step owed before it is done.

        Call it once a run. Raise CommandFailed when a tool fails; what was owed stays in the journal."""

    def drop(self, runner: Owes, taken: Taken) -> None:
        """Settle what `take` owed, newest first. Raise CommandFailed when something stays."""
        for key in reversed(taken.keys):
            runner.settle(key)

    def leftover_places(self, facts: DeviceFacts) -> tuple[str, ...]:
        """Return the directories in which snapshots of this kind may lie, by the name of their run."""
        return ()
