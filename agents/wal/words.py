"""What a WAL stream, its spool and its batches are called: frozen, without a device and without a disk."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agents.errors import AgentError, ProtocolBroken
from agents.events import Event

# What the name of a stream's run on the device has behind the console's id.
STREAM = "wal"
_SLOT_MOST = 63
_LSN = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})", re.ASCII)
# Of the segments that PostgreSQL can be built or made with (initdb --wal-segsize).
SEGMENT_SIZES = tuple(2**power for power in range(20, 31))


class StreamBroken(AgentError):
    """The stream ended, and a new one goes on where it ended: the server stopped, or its session was cut."""

    code = "wal-stream-broken"
    retryable = True


@dataclass(frozen=True, slots=True)
class Tick:
    """One answer of the server: at `at` (its own clock) its log was on its disk up to `lsn`, and here too:
    all that it had acknowledged by then. `seen_at` is the console's clock. `whole` is the newest
    position up to `lsn` at which no record is cut, 0 when none is known."""

    at: datetime
    seen_at: datetime
    lsn: int
    whole: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Log from `start` to `end` without a gap, with the first and the last tick in it.

    `stretch` names the unbroken log that it is part of: pieces of one stretch continue each other, those of
    two never do, whatever their positions say (after a gap, a comeback, a change of the timeline). What was
    caught up in one go has no tick of its own."""

    stretch: str
    system_identifier: str
    timeline: int
    segment_bytes: int
    start: int
    end: int
    since: Tick | None
    until: Tick | None

    @property
    def is_whole(self) -> bool:
        """Whether its last segment is full."""
        return self.end % self.segment_bytes == 0


@dataclass(frozen=True, slots=True)
class Batch:
    """A piece that is one restic snapshot in the repository: the segments in `folder`, under PostgreSQL's own
    names. When its last segment was not full yet, that comes again in the next batch."""

    restic_id: str
    piece: Piece
    folder: str
    bytes: int
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class Base:
    """A restore point of the whole instance, made by a run that worked from `began` to `ended` (the console's
    clock). `key` is the caller's own name for it."""

    key: str
    began: datetime
    ended: datetime


@dataclass(frozen=True, slots=True)
class Window:
    """Every moment from `since` to `until` (the server's clock) can be reached, starting from the newest of
    `bases` that ended before it."""

    since: datetime
    until: datetime
    stretch: str
    timeline: int
    bases: tuple[Base, ...]


@dataclass(frozen=True, slots=True)
class WalLog:
    """All that the console has of an instance's log: its batches, and the spool of its stream. `host` is the
    device as its snapshots name it."""

    batches: tuple[Batch, ...]
    spool: Path | None = None
    host: str = "hotfleet"


@dataclass(frozen=True, slots=True)
class Replay:
    """To which moment (the server's clock) an instance comes back, from which base, with which log. `moment`
    None: as far as the log goes."""

    moment: datetime | None
    base: Base
    log: WalLog


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What is streamed. `stream_id` is a run id (lower-case letters, digits), new at each start; `instance` a
    name ("15/main"), `slot` what `make_slot_name` returned, `spool` a directory of this instance alone."""

    console_id: str
    stream_id: str
    instance: str
    slot: str
    spool: Path


@dataclass(frozen=True, slots=True)
class Streamed:
    """The log up to `tick.lsn` is on the console's disk; `behind_bytes` are on the server's and not here."""

    stretch: str
    system_identifier: str
    timeline: int
    tick: Tick
    behind_bytes: int


@dataclass(frozen=True, slots=True)
class Gap:
    """The log does not continue what the console had: moments after it need a new restore point of the whole
    instance. `stretch` is the new one, "" `from_lsn` 0: there was nothing before. `why` is a sentence."""

    stretch: str
    from_lsn: int
    to_lsn: int
    why: str


TellWal = Callable[[Event | Streamed | Gap], None]


def make_slot_name(console_id: str, device_key: str) -> str:
    """Given the console's id and a short key of the device and instance (lower-case letters, digits), return
    the name of the slot: PostgreSQL allows lower-case letters, digits and _, 63 of them."""
    name = f"hotfleet_{console_id}_{device_key}"
    if re.fullmatch(r"[a-z0-9_]+", name) is None or len(name) > _SLOT_MOST:
        raise ValueError(f"not the name of a slot: {name!r}")
    return name


def parse_lsn(text: str) -> int:
    """Given "16/B374D848", return the position. Raise ProtocolBroken when it is none."""
    match = _LSN.fullmatch(text)
    if match is None:
        raise ProtocolBroken("this is no position in PostgreSQL's log", detail=repr(text[:100]))
    return (int(match[1], 16) << 32) | int(match[2], 16)


def format_lsn(lsn: int) -> str:
    """Given a position, return it as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def segment_name(timeline: int, lsn: int, segment_bytes: int) -> str:
    """Given a position, return the name of the file that holds it."""
    number = lsn // segment_bytes
    each = 2**32 // segment_bytes
    return f"{timeline:08X}{number // each:08X}{number % each:08X}"
