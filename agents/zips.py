"""A tar archive becomes a zip archive while it streams, in flat memory however many entries it has.

The format is PKWARE's APPNOTE 6.3.10: entry after entry, then the directory of all of them. The libraries
that stream zips keep that directory in memory (300 to 540 bytes an entry) and know no name that is not UTF-8;
here it lies on the disk until it is written, and names keep their bytes.
"""

from __future__ import annotations

import io
import re
import stat
import tarfile
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import calcsize, pack, unpack
from typing import IO

from agents.commands import to_bytes
from agents.errors import PlanRefused, ProtocolBroken

# From here on lengths are written in 64 bits. What is stored may be a little longer than what it was.
_LARGE = 4_000_000_000
_FAR, _MANY = 0xFFFFFFFF, 0xFFFF
_FULL, _LONGEST = 0xFFFFFFFF, 0xFFFF
_PIECE = 256 * 1024
_STORED, _DEFLATED = 0, 8
_LENGTHS_FOLLOW, _NAME_IS_UTF8 = 0x0008, 0x0800
_VERSION = 45
_MADE_BY = 3 << 8 | _VERSION  # Unix: the upper half of the attributes is the mode
_FIRST_MOMENT, _LAST_MOMENT = 315_532_800, 4_354_819_198
_LINK, _KEEP_BYTES = "<HHd", "surrogateescape"
# restic's tar archives hold pipes and devices as empty files, and so does this.
_KINDS = {tarfile.REGTYPE: stat.S_IFREG, tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK}
_ESCAPED = re.compile(rb"%(?=(?:25)*5C)")


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry and what its headers say. `size` decides how long its lengths are written."""

    name: bytes
    mode: int
    modified_at: float
    size: int

    @property
    def is_streamed(self) -> bool:
        return stat.S_ISREG(self.mode) and self.size > 0

    @property
    def is_large(self) -> bool:
        return self.size >= _LARGE

    def describe(self) -> bytes:
        """What both of its headers say: version, flags, method and time."""
        flags = _LENGTHS_FOLLOW if self.is_streamed else 0
        if not self.name.isascii() and _is_utf8(self.name):
            flags |= _NAME_IS_UTF8
        method = _DEFLATED if self.is_streamed else _STORED
        return pack("<HHHHH", _VERSION, flags, method, *_dos_time(self.modified_at))

    def make_extra(self, *lengths: int) -> bytes:
        """The fields that the headers have no room for: a time to the second, lengths of 64 bits."""
        seconds = int(self.modified_at)
        extra = pack("<HHBi", 0x5455, 5, 1, seconds) if -(2**31) <= seconds < 2**31 else b""
        return extra + (pack(f"<HH{len(lengths)}Q", 1, 8 * len(lengths), *lengths) if lengths else b"")


def stream_zip(pieces: Iterable[bytes], directory: IO[bytes], links: IO[bytes]) -> Iterator[bytes]:
    """Given a tar archive of a restore point, return it as a zip archive.

    `directory` and `links` are two empty files for what comes at the end: links come after all else, so that
    nobody who unpacks writes through a link that a device planted. Raise ProtocolBroken when the tar archive
    is not whole, PlanRefused for what no zip holds: what was passed on then is not the archive."""
    writer = _Writer(directory)
    held = bytearray()
    for piece in _write(pieces, writer, links):
        held += piece
        if len(held) >= _PIECE:
            yield bytes(held)
            held.clear()
    yield bytes(held)


class _Archive(tarfile.TarFile):
    members: list[tarfile.TarInfo]  # it would keep all of them


def _write(pieces: Iterable[bytes], writer: _Writer, links: IO[bytes]) -> Iterator[bytes]:
    tape = _Tape(pieces)
    try:
        with _Archive.open(fileobj=tape, mode="r|", encoding="utf-8", errors=_KEEP_BYTES) as archive:
            while (member := archive.next()) is not None:
                yield from _convert(archive, member, writer, links)
                archive.members.clear()
            tape.check_end(archive.offset)
    except tarfile.TarError as error:
        raise ProtocolBroken("restic's archive is not whole", detail=str(error)) from error
    links.seek(0)
    while header := links.read(calcsize(_LINK)):
        name_length, length, modified_at = unpack(_LINK, header)
        entry = _Entry(links.read(name_length), stat.S_IFLNK | 0o777, modified_at, length)
        yield writer.add(entry, links.read(length))
    yield from writer.end()


def _convert(
    archive: tarfile.TarFile, member: tarfile.TarInfo, writer: _Writer, links: IO[bytes]
) -> Iterator[bytes]:
    kind = _KINDS.get(member.type)
    if kind is None:
        raise ProtocolBroken("restic's archive holds something of an unknown kind", detail=repr(member.type))
    name, target = _make_name(member), to_bytes(member.linkname)
    if len(name) >= _LONGEST or len(target) >= _LONGEST:
        raise PlanRefused("A path is too long for a zip archive.", remedy="Take a tar archive instead.")
    entry = _Entry(name, kind | member.mode & 0o777, member.mtime, member.size)
    if kind == stat.S_IFLNK:
        links.write(pack(_LINK, len(name), len(target), entry.modified_at) + name + target)
    elif entry.is_streamed and (content := archive.extractfile(member)) is not None:
        yield from writer.stream(entry, content)
    else:
        yield writer.add(entry, b"")


def _make_name(member: tarfile.TarInfo) -> bytes:
    """Return the name of an entry. On Windows a backslash would part folders: it becomes %5C, and what says
    %5C already becomes %255C, so that no two names become one."""
    name = to_bytes(member.name).lstrip(b"/")
    if any(part in (b"", b".", b"..") for part in name.split(b"/")):
        raise ProtocolBroken("restic's archive holds an impossible path", detail=repr(name[:500]))
    name = _ESCAPED.sub(b"%25", name).replace(b"\\", b"%5C")
    return name + b"/" if member.isdir() else name


class _Writer:
    """Writes entries, and what the directory says of each."""

    def __init__(self, directory: IO[bytes]) -> None:
        self._directory = directory
        self._offset = self._entries = 0

    def add(self, entry: _Entry, content: bytes) -> bytes:
        """Return an entry whose content is known: a folder, a link, an empty file."""
        crc = zlib.crc32(content)
        self._note(entry, self._offset, crc, len(content))
        return self._count(_make_header(entry, crc, len(content)) + content)

    def stream(self, entry: _Entry, content: IO[bytes]) -> Iterator[bytes]:
        """Return a file; its checksum and lengths follow it."""
        offset, crc = self._offset, 0
        yield self._count(_make_header(entry, 0, 0))
        begin = self._offset
        squeezer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        while piece := content.read(_PIECE):
            crc = zlib.crc32(piece, crc)
            yield self._count(squeezer.compress(piece))
        yield self._count(squeezer.flush())
        stored = self._offset - begin
        yield self._count(pack("<4sIQQ" if entry.is_large else "<4sIII", b"PK\7\10", crc, stored, entry.size))
        self._note(entry, offset, crc, stored)

    def end(self) -> Iterator[bytes]:
        """Return the directory and the end of the archive."""
        count, begin, length = self._entries, self._offset, self._directory.tell()
        self._directory.seek(0)
        while piece := self._directory.read(_PIECE):
            yield self._count(piece)
        if count >= _MANY or self._offset >= _FAR:
            yield pack(
                "<4sQHHIIQQQQ", b"PK\6\6", 44, _MADE_BY, _VERSION, 0, 0, count, count, length, begin
            ) + pack("<4sIQI", b"PK\6\7", 0, self._offset, 1)
        some = min(count, _MANY)
        yield pack("<4sHHHHIIH", b"PK\5\6", 0, 0, some, some, min(length, _FULL), min(begin, _FULL), 0)

    def _count(self, piece: bytes) -> bytes:
        self._offset += len(piece)
        return piece

    def _note(self, entry: _Entry, offset: int, crc: int, stored: int) -> None:
        """Write an entry into the directory."""
        lengths = [entry.size, stored] if entry.is_large else []
        if is_far := offset >= _FAR:
            lengths.append(offset)
        extra = entry.make_extra(*lengths)
        shown = (_FULL, _FULL) if entry.is_large else (stored, entry.size)
        sizes = pack("<IIIHHHHH", crc, *shown, len(entry.name), len(extra), 0, 0, 0)
        place = pack(
            "<II", entry.mode << 16 | (0x10 if stat.S_ISDIR(entry.mode) else 0), _FULL if is_far else offset
        )
        made_by = pack("<4sH", b"PK\1\2", _MADE_BY)
        self._directory.write(made_by + entry.describe() + sizes + place + entry.name + extra)
        self._entries += 1


def _make_header(entry: _Entry, crc: int, length: int) -> bytes:
    """Return what stands before an entry's content; lengths that follow it are none here."""
    extra = entry.make_extra(0, 0) if entry.is_large else entry.make_extra()
    shown = _FULL if entry.is_large else length
    sizes = pack("<IIIHH", crc, shown, shown, len(entry.name), len(extra))
    return b"PK\3\4" + entry.describe() + sizes + entry.name + extra


def _dos_time(moment: float) -> tuple[int, int]:
    """Given seconds since 1970, return the time and the day as DOS wrote them: in UTC, from 1980 to 2107."""
    at = time.gmtime(min(max(moment, _FIRST_MOMENT), _LAST_MOMENT))
    clock = at.tm_hour << 11 | at.tm_min << 5 | at.tm_sec // 2
    return clock, at.tm_year - 1980 << 9 | at.tm_mon << 5 | at.tm_mday


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Tape(io.RawIOBase):
    """A tar archive as `tarfile` reads it, which takes a header that it cannot read for the end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = filter(None, pieces)
        self._held = b""
        self._length = 0
        self._data_end = 0

    def read(self, size: int = -1) -> bytes:
        taken = bytearray()
        while len(taken) < size and (piece := self._held or self._pull()):
            wanted = size - len(taken)
            taken += piece[:wanted]
            self._held = piece[wanted:]
        return bytes(taken)

    def _pull(self) -> bytes:
        piece = next(self._pieces, b"")
        if data := piece.rstrip(b"\0"):
            self._data_end = self._length + len(data)
        self._length += len(piece)
        return piece

    def check_end(self, offset: int) -> None:
        """Read on to the end. Raise ProtocolBroken unless nothing but the two empty blocks of an end comes
        after `offset`; what the pieces raise when they end."""
        while self._pull():
            pass
        if self._data_end > offset or self._length < offset + 2 * tarfile.BLOCKSIZE:
            raise ProtocolBroken("restic ended an archive in the middle")
