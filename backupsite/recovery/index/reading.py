"""What one restore point holds: a folder page by page, everything below some paths, single paths."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Literal, NamedTuple, ParamSpec, TypeVar

from agents.commands import to_bytes, to_text
from backupsite.recovery.folders import encode_path, join
from backupsite.recovery.index.files import KINDS, Broken, file_of, open_for_reading
from backupsite.recovery.models import RestorePoint

PAGE_SIZE = 500
Sort = Literal["name", "-name", "size", "-size", "modified", "-modified", "kind", "-kind"]
SORTS: dict[str, str] = {
    # Folders stay above files where names or kinds are sorted; by size and time they mix.
    "name": "kind <> 1, name",
    "-name": "kind <> 1, name DESC",
    "size": "size, name",
    "-size": "size DESC, name",
    "modified": "modified_ms, name",
    "-modified": "modified_ms DESC, name",
    "kind": "kind <> 1, kind, name",
    "-kind": "kind = 1, kind DESC, name",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One path of a restore point. `path` keeps every byte as text: show it through `safe_text`."""

    path: str
    kind: str
    size_bytes: int
    modified_at: datetime | None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0] or "/"

    @property
    def key(self) -> str:
        """The path as URLs and forms carry it."""
        return encode_path(self.path)

    @property
    def is_folder(self) -> bool:
        return self.kind == "dir"

    @property
    def is_file(self) -> bool:
        return self.kind == "file"


class Place(NamedTuple):
    """Where a restore point stands in the index of its device."""

    series: int
    ordinal: int
    entries: int
    skipped: int


class FolderPage(NamedTuple):
    """A page of a folder. `total` is how many entries the folder has."""

    entries: list[IndexEntry]
    total: int


def none_when_broken(function: Callable[Given, Answer]) -> Callable[Given, Answer | None]:
    """An index that turns out to be broken is one that is not there."""

    @wraps(function)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Answer | None:
        try:
            return function(*args, **kwargs)
        except Broken:
            return None

    return call


def moment_of(modified_ms: int | None) -> datetime | None:
    """Given milliseconds since 1970, return the time; None when no calendar holds it."""
    try:
        return _EPOCH + timedelta(milliseconds=modified_ms) if modified_ms is not None else None
    except OverflowError:
        return None


def make_entry(folder: str, name: bytes, kind: int, size: int, modified_ms: int | None) -> IndexEntry:
    """Given a row of the index, return it for others."""
    return IndexEntry(join(folder, to_text(name)), KINDS[kind], size, moment_of(modified_ms))


def place_of_point(connection: sqlite3.Connection, point: RestorePoint) -> Place | None:
    """Given an open index, return where a restore point stands; None when it is not in it."""
    row = connection.execute(
        "SELECT state.series, state.ordinal, entries, skipped FROM point JOIN state USING (series, ordinal)"
        " WHERE id = ?",
        (point.pk.hex,),
    ).fetchone()
    return Place(*row) if row is not None else None


@contextmanager
def open_point(point: RestorePoint) -> Iterator[tuple[sqlite3.Connection, Place] | None]:
    """Open the index at a restore point; None when it is not in it. Raise Broken."""
    with open_for_reading(file_of(point.device)) as connection:
        place = place_of_point(connection, point) if connection is not None else None
        yield (connection, place) if connection is not None and place is not None else None


@none_when_broken
def find_place(point: RestorePoint) -> Place | None:
    """Given a restore point, return where it stands in the index; None when it is not in it."""
    with open_point(point) as opened:
        return opened[1] if opened is not None else None


@none_when_broken
def find_fault(point: RestorePoint) -> str:
    """Given a restore point that is not in the index, return why it cannot be; "" when nobody tried yet."""
    with open_for_reading(file_of(point.device)) as connection:
        if connection is None:
            return ""
        row = connection.execute("SELECT fault FROM point WHERE id = ?", (point.pk.hex,)).fetchone()
        return to_text(row[0]) if row is not None else ""


@none_when_broken
def entries(
    point: RestorePoint, folder: str, *, page: int = 1, sort: str = "name", size: int = PAGE_SIZE
) -> FolderPage | None:
    """Return a page of what a folder holds, from page 1; None when the restore point is not in the index.

    A folder that is not there is empty. Raise KeyError for an order that is not in SORTS."""
    order = SORTS[sort]
    with open_point(point) as opened:
        if opened is None:
            return None
        connection, place = opened
        live = (to_bytes(folder), place.series, place.ordinal)
        total = connection.execute(f"SELECT count(*) {_IN_FOLDER}", live).fetchone()[0]
        rows = connection.execute(
            f"SELECT name, kind, size, modified_ms {_IN_FOLDER} ORDER BY {order} LIMIT ?4 OFFSET ?5",
            (*live, size, (page - 1) * size),
        )
        return FolderPage([make_entry(folder, *row) for row in rows], total)


_IN_FOLDER = (
    "FROM entry WHERE folder = (SELECT id FROM folder WHERE path = CAST(?1 AS TEXT))"
    " AND series = ?2 AND ?3 BETWEEN first AND last"
)


@none_when_broken
def find(point: RestorePoint, paths: Sequence[str]) -> dict[str, IndexEntry] | None:
    """Return the entries of those of these paths that the restore point holds; None when it is not in the
    index."""
    with open_point(point) as opened:
        if opened is None:
            return None
        found = (find_one(*opened, path) for path in paths)
        return {entry.path: entry for entry in found if entry is not None}


def find_one(connection: sqlite3.Connection, place: Place, path: str) -> IndexEntry | None:
    """Return one path of a restore point; None when it does not hold it. "/" is a folder of every one."""
    if path == "/":
        return IndexEntry("/", "dir", 0, None)
    folder, _, name = path.rpartition("/")
    row = connection.execute(
        f"SELECT name, kind, size, modified_ms {_IN_FOLDER} AND name = CAST(?4 AS TEXT)",
        (to_bytes(folder or "/"), place.series, place.ordinal, to_bytes(name)),
    ).fetchone()
    return make_entry(folder or "/", *row) if row is not None else None


def under(point: RestorePoint, paths: Iterable[str]) -> Iterator[IndexEntry] | None:
    """Return everything at and below these paths, folder by folder, each once, in flat memory; None when the
    restore point is not in the index. A path that it does not hold gives nothing.

    The iterator raises Broken when the index turns out to be broken on the way."""
    if find_place(point) is None:
        return None
    return _walk(point, _outermost(paths))


class Measured(NamedTuple):
    """How much is at and below some paths."""

    files: int
    folders: int
    bytes: int


@none_when_broken
def measure(point: RestorePoint, paths: Iterable[str]) -> Measured | None:
    """Return how much `under` would return, without reading it here; None when the restore point is not in
    the index."""
    with open_point(point) as opened:
        if opened is None:
            return None
        connection, place = opened
        files, folders, size = 0, 0, 0
        for path in _outermost(paths):
            entry = find_one(connection, place, path)
            if entry is None:
                continue
            files += not entry.is_folder
            folders += entry.is_folder and path != "/"
            size += entry.size_bytes
            if entry.is_folder:
                more = connection.execute(
                    f"SELECT {_HOW_MUCH} {_BELOW}", _below_values(place, path)
                ).fetchone()
                files, folders, size = files + more[0], folders + more[1], size + int(more[2])
        return Measured(files, folders, size)


def _outermost(paths: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(set(paths), key=lambda each: each.rstrip("/") + "/"):
        if not kept or not (path.rstrip("/") + "/").startswith(kept[-1].rstrip("/") + "/"):
            kept.append(path)
    return kept


def _walk(point: RestorePoint, paths: list[str]) -> Iterator[IndexEntry]:
    with open_point(point) as opened:
        if opened is None:
            raise Broken
        connection, place = opened
        for path in paths:
            entry = find_one(connection, place, path)
            if entry is None:
                continue
            if path != "/":
                yield entry
            if entry.is_folder:
                yield from _below(connection, place, path)


def _below(connection: sqlite3.Connection, place: Place, path: str) -> Iterator[IndexEntry]:
    asked = f"SELECT path, name, kind, size, modified_ms {_BELOW} ORDER BY path, name"
    for folder, *row in connection.execute(asked, _below_values(place, path)):
        yield make_entry(to_text(folder), *row)


# total() and not sum(): sizes are what a device claims, and their sum may be larger than any integer.
_HOW_MUCH = (
    "count(*) - count(CASE WHEN kind = 1 THEN 1 END), count(CASE WHEN kind = 1 THEN 1 END), total(size)"
)
_BELOW = """
FROM folder JOIN entry ON folder = id
WHERE (path = CAST(?1 AS TEXT) OR path >= CAST(?2 AS TEXT) AND path < CAST(?3 AS TEXT))
AND series = ?4 AND ?5 BETWEEN first AND last
"""


def _below_values(place: Place, path: str) -> tuple[object, ...]:
    start = to_bytes(path.rstrip("/"))
    return start or b"/", start + b"/", start + b"0", place.series, place.ordinal
