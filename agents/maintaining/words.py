"""The words of maintenance: what was found, what it means, what was done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agents.flow import Control
from agents.gateway.target import Kind, Target


class Upkeeper(Control, Protocol):
    """How the caller stops maintenance, and asks it to give way."""

    def must_give_way(self) -> bool:
        """Return True when something more urgent waits for the repository: what can be done later then is."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a repository that is not what was stored. `target` None: it is no single file."""

    target: Target | None
    text: str

    def __str__(self) -> str:
        if self.target is None:
            return self.text
        return f"{self.target.kind}/{self.target.name}".rstrip("/") + f": {self.text}"


def pack(name: str) -> Target:
    """Given the name of a pack, return its file."""
    return Target(Kind.DATA, name)


@dataclass(frozen=True, slots=True)
class ReadingReport:
    """How much of a repository was read when. `ages` are bytes by the whole days since they were last read
    and found whole; `unread_bytes` never were. `is_whole`: this pass did all that was due."""

    files: int = 0
    total_bytes: int = 0
    unread_bytes: int = 0
    ages: tuple[int, ...] = ()
    read_files: int = 0
    read_bytes: int = 0
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Stray:
    """A snapshot that no catalogue names: of a run that failed, or of somebody who has no business there.

    `first_seen` is when a check met it first, by this machine's clock; the rest is what it says of itself."""

    snapshot_id: str
    first_seen: datetime
    hostname: str
    tags: tuple[str, ...]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the catalogue knows of a repository: restic's snapshots, and restic's name for all of it. Those
    that are `going` may be there or not: a run that was to remove them may have been killed."""

    snapshot_ids: frozenset[str]
    restic_id: str = ""
    going: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What a check found. `hurt` says for each snapshot of the catalogue that needs what is damaged, why it
    cannot be trusted. `is_structure_checked` False: this was left for later."""

    findings: tuple[Finding, ...]
    hurt: dict[str, str]
    strays: tuple[Stray, ...]
    reading: ReadingReport
    is_structure_checked: bool
