"""The spool: the newest log of one instance on the console's disk, until a batch holds it.

<spool>/current                  the name of the stretch that the stream writes
<spool>/<stretch>/stretch        what it is (JSON)
<spool>/<stretch>/<segment>      bytes from the segment's first on, as far as they came
<spool>/<stretch>/<segment>.ticks  the first and the last tick whose position lies in that segment (JSON)
<spool>/<stretch>/edge           the last bytes before the first segment, once a batch took what was before
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agents.errors import AgentError, ProtocolBroken, RepositoryFull
from agents.wal.words import Piece, Tick, segment_name

# By so many bytes before its end the log of a server is told from another one's.
EDGE_BYTES = 8192
LEAST_FREE_BYTES = 1024**3
_SEGMENT = re.compile(r"[0-9A-F]{24}", re.ASCII)


class SpoolBusy(AgentError):
    """Another stream writes into this spool."""

    code = "spool-busy"
    retryable = True


@dataclass(frozen=True, slots=True)
class Stretch:
    """A directory of the spool. `start` is where its log begins: the first byte of a segment."""

    path: Path
    system_identifier: str
    timeline: int
    segment_bytes: int
    start: int

    @property
    def name(self) -> str:
        return self.path.name

    def file_of(self, lsn: int) -> Path:
        """Return the file of the segment that holds a position."""
        return self.path / segment_name(self.timeline, lsn, self.segment_bytes)

    def segments(self) -> list[tuple[int, Path]]:
        """Return where each segment starts, and its file, in their order; not those that were left and are
        not removed yet."""
        first, _ = self.edge()
        return [each for each in self._files() if each[0] >= first]

    def end(self) -> int:
        """Return the position up to which the log is here, or was when a batch took it."""
        segments = self.segments()
        if segments:
            start, file = segments[-1]
            return start + file.stat().st_size
        return self.edge()[0]

    def edge(self) -> tuple[int, bytes]:
        """Return where the first segment begins, and the last bytes before it, as far as they are known."""
        try:
            data = (self.path / "edge").read_bytes()
        except FileNotFoundError:
            return self.start, b""
        return int.from_bytes(data[:8]), data[8:]

    def last_bytes(self) -> bytes:
        """Return up to EDGE_BYTES before the end, of one segment."""
        segments = self.segments()
        if segments and (size := segments[-1][1].stat().st_size):
            with segments[-1][1].open("rb") as file:
                file.seek(max(0, size - EDGE_BYTES))
                return file.read()
        return self.edge()[1]

    def append(self, lsn: int, data: bytes) -> None:
        """Append bytes of one segment at the end; they are on the disk when this returns."""
        file = self.file_of(lsn)
        is_new = not file.exists()
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size != lsn % self.segment_bytes:
                raise ProtocolBroken("the log does not continue what is in the spool")
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        if is_new:
            sync_folder(self.path)

    def note(self, tick: Tick) -> None:
        """Keep a tick, in place of the last one in its segment."""
        file = self._ticks_file(self.file_of(tick.lsn))
        first, _ = self.ticks_of(self.file_of(tick.lsn))
        _replace(file, json.dumps([_pack(first or tick), _pack(tick)]).encode())

    def ticks_of(self, segment: Path) -> tuple[Tick | None, Tick | None]:
        """Return the first and the last tick in a segment."""
        try:
            first, last = json.loads(self._ticks_file(segment).read_bytes())
        except FileNotFoundError:
            return None, None
        return _unpack(first), _unpack(last)

    def piece(self, *, full_only: bool = False, most: int | None = None) -> Piece | None:
        """Return what is here, None when it is nothing. `full_only`: only segments that are full, the first
        `most` of them."""
        segments = self.segments()[:most]
        if full_only:
            segments = [each for each in segments if each[1].stat().st_size == self.segment_bytes]
        end = segments[-1][0] + segments[-1][1].stat().st_size if segments else self.end()
        start = segments[0][0] if segments else end
        noted = [self.ticks_of(file) for _, file in segments]
        if not full_only and end % self.segment_bytes == 0:
            noted.append(self.ticks_of(self.file_of(end)))  # a tick right behind the last full segment
        ticks = [tick for pair in noted for tick in pair if tick is not None]
        if not segments and not ticks:
            return None
        since, until = (ticks[0], ticks[-1]) if ticks else (None, None)
        words = (self.name, self.system_identifier, self.timeline, self.segment_bytes)
        return Piece(*words, start, end, since, until)

    def leave(self, end: int) -> None:
        """Remove the segments up to `end`, which a batch holds, and keep what tells their log from another.

        May be called again after it was killed anywhere."""
        leaving = [file for start, file in self.segments() if start < end]
        if leaving:
            with leaving[-1].open("rb") as last:
                last.seek(self.segment_bytes - EDGE_BYTES)
                _replace(self.path / "edge", end.to_bytes(8) + last.read())
        for segment in [file for start, file in self._files() if start < end]:
            segment.unlink()
            self._ticks_file(segment).unlink(missing_ok=True)
        sync_folder(self.path)

    def _files(self) -> list[tuple[int, Path]]:
        found = [each for each in self.path.iterdir() if _SEGMENT.fullmatch(each.name)]
        return sorted((self._start_of(each.name), each) for each in found)

    def _start_of(self, name: str) -> int:
        return int(name[8:16], 16) * 2**32 + int(name[16:], 16) * self.segment_bytes

    def _ticks_file(self, segment: Path) -> Path:
        return segment.with_name(f"{segment.name}.ticks")


def current_stretch(spool: Path) -> Stretch | None:
    """Return the stretch that the stream writes, None when there is none yet."""
    try:
        name = (spool / "current").read_text()
    except FileNotFoundError:
        return None
    return _open_stretch(spool / name)


def begin_stretch(
    spool: Path, system_identifier: str, timeline: int, segment_bytes: int, start: int
) -> Stretch:
    """Make a new stretch that begins at `start`, and make it the current one."""
    now = datetime.now(UTC)
    path = spool / f"{now:%Y%m%dT%H%M%S}-{timeline:08x}-{secrets.token_hex(4)}"
    path.mkdir(mode=0o700, parents=True)
    what = {
        "system_identifier": system_identifier,
        "timeline": timeline,
        "segment_bytes": segment_bytes,
        "start": start,
    }
    _replace(path / "stretch", json.dumps(what).encode())
    _replace(spool / "current", path.name.encode())
    return Stretch(path, system_identifier, timeline, segment_bytes, start)


def stretches(spool: Path) -> list[Stretch]:
    """Return every stretch of a spool, oldest first."""
    if not spool.is_dir():
        return []
    found = [_open_stretch(each.parent) for each in sorted(spool.glob("*/stretch"))]
    return [each for each in found if each is not None]


def read_spool(spool: Path) -> tuple[Piece, ...]:
    """Return what is in a spool, one piece for each stretch."""
    pieces = [stretch.piece() for stretch in stretches(spool)]
    return tuple(piece for piece in pieces if piece is not None)


def forget_empty(spool: Path) -> None:
    """Remove the directories of stretches that were ended and whose log is all in batches."""
    current = current_stretch(spool)
    for stretch in stretches(spool):
        if stretch.name != (current.name if current is not None else "") and not stretch.segments():
            shutil.rmtree(stretch.path)


@contextmanager
def locked(spool: Path, name: str, *, waits: bool = False) -> Iterator[None]:
    """Hold a lock of a spool. Raise SpoolBusy when somebody else has it and this does not wait."""
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (spool / f".{name}").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise SpoolBusy(f"somebody else works on {spool}: {name}") from error
        yield


def require_room(spool: Path) -> None:
    """Raise RepositoryFull before the log of one server takes the room of all others: its slot keeps it."""
    space = os.statvfs(spool)
    if space.f_bavail * space.f_frsize < LEAST_FREE_BYTES:
        raise RepositoryFull(
            "The log is not taken any more: less than 1 GiB is free where it is kept here.",
            remedy="Make room there. Meanwhile the server keeps it, up to max_slot_wal_keep_size.",
        )


def sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _open_stretch(path: Path) -> Stretch | None:
    try:
        what = json.loads((path / "stretch").read_bytes())
    except FileNotFoundError:
        return None
    return Stretch(path, what["system_identifier"], what["timeline"], what["segment_bytes"], what["start"])


def _replace(file: Path, content: bytes) -> None:
    draft = file.with_name(f".{file.name}.new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(fd)
    draft.replace(file)
    sync_folder(file.parent)


def _pack(tick: Tick) -> list[object]:
    return [tick.at.isoformat(), tick.seen_at.isoformat(), tick.lsn, tick.whole]


def _unpack(fields: list[Any]) -> Tick:
    """Any: JSON of ours."""
    at, seen_at, lsn, whole = fields
    return Tick(datetime.fromisoformat(at), datetime.fromisoformat(seen_at), lsn, whole)
