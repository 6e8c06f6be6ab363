"""One listing laid beside the newest state of its series: what is new, what is gone, what is not the same.

Both come in the same order (`agents.restic.walking`), so that no more is held than one cursor for each folder
on the way to where we are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

from agents.errors import ProtocolBroken
from agents.restic.walking import Walked
from backupsite.recovery.folders import LONGEST_PATH
from backupsite.recovery.index.files import FOLDER, KINDS, OPEN

_BATCH = 5000
_LIVE = "SELECT name, kind, size, modified_ms, first FROM entry WHERE folder = ? AND series = ? AND last = ?"
_KINDS = {name: number for number, name in enumerate(KINDS)}
_OTHER = len(KINDS) - 1

Row = tuple[bytes, int, int, int | None, int]


class _Folder:
    """A folder that the listing is in, with what the newest state holds of it."""

    __slots__ = ("_rows", "id", "last_name", "path", "row")

    def __init__(self, path: bytes, id: int, rows: Iterator[Row]) -> None:
        self.path, self.id, self._rows = path, id, rows
        self.last_name = b""
        self.row = next(rows, None)

    def advance(self) -> None:
        self.row = next(self._rows, None)


class Merge:
    """Writes the state `ordinal` of a series. `read` sees the index as it was before `write` began."""

    def __init__(
        self, read: sqlite3.Connection, write: sqlite3.Connection, series: int, ordinal: int
    ) -> None:
        self._read, self._write = read, write
        self._series, self._ordinal = series, ordinal
        self._new: list[tuple[object, ...]] = []
        self._gone: list[tuple[object, ...]] = []
        self.entries = self.skipped = 0

    def run(self, nodes: Iterable[Walked]) -> None:
        """Write what these nodes say. Raise ProtocolBroken when they do not come in order."""
        stack = [self._open(b"/")]
        for node in nodes:
            if len(node.folder) + len(node.name) >= LONGEST_PATH:
                self.skipped += 1
                continue
            while stack[-1].path != node.folder:
                self._leave(stack.pop())
                if not stack:
                    raise ProtocolBroken("a listing is out of order", detail=repr(node.folder[:500]))
            path = self._take(stack[-1], node)
            if path is not None:
                stack.append(self._open(path))
        while stack:
            self._leave(stack.pop())
        self._flush()

    def _take(self, folder: _Folder, node: Walked) -> bytes | None:
        """Compare one node; return its path when it is a folder."""
        name = node.name
        if name <= folder.last_name:
            raise ProtocolBroken("a listing is out of order", detail=repr(name[:500]))
        folder.last_name = name
        while (row := folder.row) is not None and row[0] < name:
            self._end(folder, row)
            folder.advance()
        kind = _KINDS.get(node.kind, _OTHER)
        self.entries += 1
        if row is not None and row[0] == name:
            folder.advance()
            if row[1] == kind and row[2] == node.size and row[3] == node.modified_ms:
                return _join(folder.path, name) if kind == FOLDER else None
            self._end(folder, row, is_folder_still=kind == FOLDER)
        self._new.append(
            (folder.id, name, self._series, self._ordinal, OPEN, kind, node.size, node.modified_ms)
        )
        if len(self._new) >= _BATCH:
            self._flush()
        return _join(folder.path, name) if kind == FOLDER else None

    def _open(self, path: bytes) -> _Folder:
        found = self._read.execute("SELECT id FROM folder WHERE path = CAST(? AS TEXT)", (path,)).fetchone()
        if found is not None:
            rows = self._read.execute(f"{_LIVE} ORDER BY name", (found[0], self._series, OPEN))
            return _Folder(path, found[0], rows)
        made = self._write.execute("INSERT INTO folder (path) VALUES (CAST(? AS TEXT))", (path,))
        return _Folder(path, made.lastrowid or 0, iter(()))

    def _leave(self, folder: _Folder) -> None:
        while folder.row is not None:
            self._end(folder, folder.row)
            folder.advance()

    def _end(self, folder: _Folder, row: Row, *, is_folder_still: bool = False) -> None:
        """A version ends with the state before, and with a folder that is gone everything below it."""
        self._gone.append((self._ordinal - 1, folder.id, row[0], self._series, row[4]))
        if row[1] == FOLDER and not is_folder_still:
            self._end_below(_join(folder.path, row[0]))
        if len(self._gone) >= _BATCH:
            self._flush()

    def _end_below(self, path: bytes) -> None:
        self._write.execute(
            "UPDATE entry SET last = ? WHERE series = ? AND last = ? AND folder IN (SELECT id FROM folder"
            " WHERE path = CAST(? AS TEXT) OR path > CAST(? AS TEXT) AND path < CAST(? AS TEXT))",
            (self._ordinal - 1, self._series, OPEN, path, path + b"/", path + b"0"),
        )

    def _flush(self) -> None:
        self._write.executemany(
            "UPDATE entry SET last = ?"
            " WHERE folder = ? AND name = CAST(? AS TEXT) AND series = ? AND first = ?",
            self._gone,
        )
        self._write.executemany("INSERT INTO entry VALUES (?, CAST(? AS TEXT), ?, ?, ?, ?, ?, ?)", self._new)
        self._gone.clear()
        self._new.clear()


def _join(folder: bytes, name: bytes) -> bytes:
    return b"/" + name if folder == b"/" else folder + b"/" + name
