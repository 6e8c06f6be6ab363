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
class Proof:
    """What would be the same only if nothing of `path` had changed, as the file system says it."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """The snapshots from which a proof of `path` is read."""

    path: str
    snapshots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shot:
    """A snapshot that is ready to be taken: what is slow is done, what it needs is owed to the journal.

    `script` is shell source (POSIX sh, words quoted by `agents.commands.quote`) that takes it, as short as
    can be: applications may be held meanwhile. It runs inside of a function, may print `note <text>`, ends
    with status 0 or it failed, and does not `exit`. Empty: nothing has to be taken."""

    method: str
    consistency: Consistency
    script: str
    binds: tuple[Bind, ...]
    keys: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken: where to read it, how good it is, and what has to be settled to drop it.

    `proofs` are of the state that was taken; a later run compares them with what `prove` says then."""

    method: str
    consistency: Consistency
    binds: tuple[Bind, ...]
    keys: tuple[str, ...] = ()
    proofs: tuple[Proof, ...] = ()


class SnapshotProvider(ABC):
    """One way to read files that do not move. A file of this package holds one."""

    name: ClassVar[str]
    label: ClassVar[str]
    # It is worth something only of what stands still meanwhile: for cold backups.
    needs_stop: ClassVar[bool] = False

    @abstractmethod
    def can_take(self, path: str, facts: DeviceFacts) -> Claim | Refusal:
        """Given a real path and facts, return what a snapshot of it would be worth, or why there is none."""

    @abstractmethod
    def units(self, path: str, facts: DeviceFacts) -> tuple[str, ...]:
        """Given a real path that it claims, return what a snapshot of it takes, each atomic in itself.

        Two paths of one unit are taken in one instant; empty when nothing is (live files)."""

    @abstractmethod
    def prepare(self, runner: Owes, paths: Sequence[str], facts: DeviceFacts, *, number: int = 0) -> Shot:
        """Given real paths that it claims, do everything that is slow, and owe each step before it is done.

        `number` is a run's own for each call: keys and names carry it. Raise CommandFailed when a tool fails,
        PlanRefused when there is no space for it; what was owed stays in the journal."""

    def finish(self, runner: Owes, shot: Shot) -> Taken:
        """Given a shot whose script ran, return what can be read. Raise CommandFailed when it cannot be."""
        return Taken(shot.method, shot.consistency, shot.binds, shot.keys)

    def prove(self, runner: Owes, path: str, facts: DeviceFacts) -> Proof | None:
        """Given a real path that it claims, return the proof of its state now, everything written out; None
        when the file system has none."""
        return None

    def check(self, runner: Owes, taken: Taken) -> None:  # noqa: B027 - most have nothing to check
        """Raise SnapshotBroken when what was taken is, or soon will be, no snapshot any more (its space is
        used up). Called every few seconds while it is read, and once at the end."""

    def drop(self, runner: Owes, taken: Taken) -> None:
        """Settle what was owed, newest first. Raise CommandFailed when something stays."""
        for key in reversed(taken.keys):
            runner.settle(key)

    def find_leftovers(self, facts: DeviceFacts) -> Command | None:
        """Return the command that prints what runs left, two NUL-ended fields each: the name of the run
        (hotfleet-<console>-<run>) and the word that `remove_leftover` takes. None when nothing can be
        left."""
        return None

    def remove_leftover(self, place: str) -> Command:
        """Given the second field, return the command that removes it. It checks the name once more."""
        raise NotImplementedError(f"{self.name} leaves nothing")
