"""The words in which an application says how it is backed up: shell sources and commands, decided before
anything is touched.

A shell source is POSIX sh, and every word of it that is not constant was quoted by `agents.commands.quote`.
"""

from __future__ import annotations

from dataclasses import dataclass

from agents.commands import Command
from agents.events import Consistency

# Methods that several applications offer. One may have others of its own.
SNAPSHOT, STREAM, DUMP = "snapshot", "stream", "dump"
# The status of a release (or an undo) that let go of something that was not held any more by then.
NOT_HELD = 3


@dataclass(frozen=True, slots=True)
class Ground:
    """What the file systems below an instance allow. `is_atomic`: one snapshot holds all of its places."""

    is_atomic: bool
    reason: str
    provider: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a source may be held: a freeze (the application waits), a downtime (its service is
    stopped)."""

    freeze_ms: int = 10_000
    downtime_s: int = 120


@dataclass(frozen=True, slots=True)
class Offer:
    """A method that works for an instance now. Sentences for people; `freeze` is what to expect.

    `missing` says what would make a better method possible, with its remedy."""

    method: str
    consistency: Consistency
    reason: str
    freeze: str = "nothing is held"
    cost: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Quiesce:
    """How an application is held still around a snapshot, in one script on the device, without a network
    between.

    `before` runs first, while nothing is held: what makes the hold short, and what refuses it (a query that
    runs too long). `hold` and `release` are shell sources that run in the same shell, so that a descriptor or
    a variable lives on from one to the other; $hold is an empty directory of this hold alone (0700, a tmpfs),
    the same in all three. They end with status 0 or they failed, print `note <text>` for the run's log, never
    `exit`, and use no `set -e`. `release` is called after a failed `hold` too; it ends with NOT_HELD when the
    application moved before (a lock that was lost): what was taken is thrown away. `undo` is what the device
    runs when everything else is dead: idempotent, alone, in another shell. `is_stop`: the service stands
    still meanwhile (a downtime), else it waits (a freeze), unless `waits` says that it goes on as ever.
    `is_watch`: it stands anyway; nothing is held or owed, and `release` and `undo` only say NOT_HELD when
    somebody started it meanwhile."""

    label: str
    hold: str
    release: str
    undo: str
    before: tuple[Command, ...] = ()
    is_stop: bool = False
    waits: bool = True
    is_watch: bool = False

    @property
    def holds(self) -> bool:
        """Whether the application stands still meanwhile. PostgreSQL does not: its own recovery copes."""
        return self.waits and self.hold.strip() not in ("", ":")


@dataclass(frozen=True, slots=True)
class Stream:
    """A file of a restore point that a program prints. `name` is its name there ("base.tar", no slash).

    `producer` runs as root with PATH, HOME and LC_ALL only: it changes its user itself. It must fail (status
    not 0) when what it printed is not whole: then there is no restore point."""

    name: str
    producer: Command


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one method goes. `paths` are stored from a snapshot (`needs_snapshot`) or live (cold, stopped),
    each
    `stream` is a restore point of its own; a recipe has one of the two.

    `scratch_bytes`: the streams need a directory of their own on a disk with so much space; its path is given
    to
    `recipe`, the flow makes it (0700, root's) and removes it whatever happens."""

    method: str
    consistency: Consistency
    paths: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    quiesce: Quiesce | None = None
    streams: tuple[Stream, ...] = ()
    scratch_bytes: int = 0
    notes: tuple[str, ...] = ()
