"""What is to be restored where, and what came out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agents.binds import Limits
from agents.repositories import RepositoryPlace
from agents.restic.binary import Binary

# Somebody waits for it: nice beside the applications, but with all that restic needs, and never paused.
GENTLE = Limits(processors=None, memory_bytes=None, read_concurrency=None, pressure_budget=None)


class Conflict(StrEnum):
    """What happens to something that is in the way, in a merge."""

    KEEP_BOTH = "keep-both"  # what comes gets another name: "name (2026-11-22 14.02).ext"
    REPLACE = "replace"
    SKIP = "skip"


class Mode(StrEnum):
    """How the target changes.

    MERGE: what the restore point does not hold stays. Folders that exist keep their owner, mode and times.
    A merge that is cut off leaves each file either old or new.
    EXACT: each picked thing becomes exactly what the restore point holds, by a swap. A restore that is cut
    off leaves all of them old, or all new (on each file system by itself). Needs room for both.
    DIRECT: as EXACT, but what is there is REMOVED FIRST, for trees that do not fit twice. A restore that is
    cut off leaves nothing in their places: the data is then in the repository only, until a restore succeeds.
    Only where no parent belongs to somebody else, and only when a person said this very word.
    """

    MERGE = "merge"
    EXACT = "exact"
    DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore where.

    `paths` are absolute paths in the restore point, from any folders; without one all of `base` comes. `base`
    is the folder of the point from which places are counted. `target` is an absolute folder of the device;
    None: each thing returns to its original place. Setuid, setgid, devices and capabilities come only with
    `is_whole_system`. `moment` is when the point was made; `size_bytes` what is known of the size (0:
    nothing). `protected` are directories of the console itself, when the device is its own machine.
    """

    console_id: str
    run_id: str
    place: RepositoryPlace
    binary: Binary
    is_local: bool
    restic_id: str
    paths: tuple[str, ...]
    base: str
    target: str | None
    conflict: Conflict
    mode: Mode
    is_whole_system: bool
    moment: datetime
    size_bytes: int
    protected: tuple[str, ...] = ()
    limits: Limits = GENTLE


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What came out. `files` (with folders) and `bytes` came from the restore point.

    `replaced`: things that made way; `kept`: things that stayed where something was to come; `renamed`:
    things that came beside them, with another name; `skipped`: files that did not come because of them: what
    is there was not compared. It is complete when nothing was skipped and nothing had a problem."""

    files: int
    bytes: int
    replaced: int
    kept: int
    renamed: int
    skipped: int
    problem_count: int
    is_complete: bool
