"""What is different between two restore points of one source: by folder, then entry by entry.

Folders themselves are not counted: they change with what is in them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from agents.commands import to_bytes, to_text
from backupsite.recovery.folders import encode_path, join
from backupsite.recovery.index.files import FOLDER, KINDS
from backupsite.recovery.index.reading import moment_of, none_when_broken, open_point, place_of_point
from backupsite.recovery.models import RestorePoint

FOLDERS_SIZE = 100
ENTRIES_SIZE = 500


class Counts(NamedTuple):
    """How many files were added, changed and removed, and the bytes: of the added, of the changed as they are
    now and as they were, of the removed."""

    added: int
    changed: int
    removed: int
    added_bytes: int
    changed_bytes: int
    changed_bytes_before: int
    removed_bytes: int

    @property
    def total(self) -> int:
        return self.added + self.changed + self.removed

    @property
    def growth(self) -> int:
        return self.added_bytes + self.changed_bytes - self.changed_bytes_before - self.removed_bytes


@dataclass(frozen=True, slots=True)
class FolderChange:
    """What changed directly in one folder."""

    path: str
    counts: Counts

    @property
    def key(self) -> str:
        return encode_path(self.path)


@dataclass(frozen=True, slots=True)
class Change:
    """One path that is not the same. `kind_before` or `kind` is None where it was not there."""

    path: str
    kind_before: str | None
    size_before: int
    modified_before: datetime | None
    kind: str | None
    size_bytes: int
    modified_at: datetime | None

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def key(self) -> str:
        return encode_path(self.path)

    @property
    def what(self) -> str:
        if self.kind_before is None:
            return "added"
        return "removed" if self.kind is None else "changed"


class Comparison(NamedTuple):
    """A page of folders with changes, those with the most bytes first; `counts` is about all of them."""

    counts: Counts
    folders: list[FolderChange]
    folder_count: int


class ChangePage(NamedTuple):
    """A page of the changes in one folder."""

    changes: list[Change]
    total: int


# One row for each path that differs; one that went and came back the same has two rows and does not differ.
# `is_old`: the row is of the older restore point.
_DIFFERENT = """
WITH row AS (
    SELECT folder, name, kind, size, modified_ms, ?2 BETWEEN first AND last AS is_old
    FROM entry WHERE series = ?1 AND kind <> ?4
    AND (?2 BETWEEN first AND last) <> (?3 BETWEEN first AND last) {narrower}
), change AS (
    SELECT folder, name, max(is_old) AS had, max(NOT is_old) AS has,
    sum(size * is_old) AS old_size, sum(size * (NOT is_old)) AS new_size,
    max(CASE WHEN is_old THEN kind END) AS old_kind, max(CASE WHEN NOT is_old THEN kind END) AS new_kind,
    max(CASE WHEN is_old THEN modified_ms END) AS old_ms,
    max(CASE WHEN NOT is_old THEN modified_ms END) AS new_ms
    FROM row GROUP BY folder, name
    HAVING NOT (had AND has AND old_kind IS new_kind AND old_size = new_size AND old_ms IS new_ms)
)
"""
# total() and not sum(): sizes are what a device claims, and their sum may be larger than any integer.
_BY_FOLDER = """
SELECT path, sum(has AND NOT had), sum(had AND has), sum(had AND NOT has), total(new_size * (NOT had)),
total(new_size * (had AND has)), total(old_size * (had AND has)), total(old_size * (NOT has))
FROM change JOIN folder ON id = folder GROUP BY folder ORDER BY total(new_size) + total(old_size) DESC, path
"""
_HOW_MANY = "SELECT count(*) FROM change"
_BY_NAME = """
SELECT name, old_kind, old_size, old_ms, new_kind, new_size, new_ms FROM change
ORDER BY name LIMIT ?6 OFFSET ?7
"""


class OtherSource(ValueError):
    """The two restore points are not of one source: there is nothing to compare."""


@none_when_broken
def compare(old: RestorePoint, new: RestorePoint, *, page: int = 1) -> Comparison | None:
    """Return what changed from one restore point to another of the same source; None when one of them is not
    in the index. Raise OtherSource. Reads through the whole index of the device."""
    with _open_both(old, new) as opened:
        if opened is None:
            return None
        connection, values = opened
        asked = _DIFFERENT.format(narrower="")
        rows = connection.execute(
            asked + _BY_FOLDER,
            values,
        ).fetchall()
    start = (page - 1) * FOLDERS_SIZE
    counts = _add_up(row[1:] for row in rows)
    shown = [
        FolderChange(to_text(path), _add_up([each])) for path, *each in rows[start : start + FOLDERS_SIZE]
    ]
    return Comparison(counts, shown, len(rows))


@none_when_broken
def compare_folder(old: RestorePoint, new: RestorePoint, folder: str, *, page: int = 1) -> ChangePage | None:
    """Return a page of what changed directly in a folder, by name. As `compare`."""
    with _open_both(old, new) as opened:
        if opened is None:
            return None
        connection, values = opened
        narrower = "AND folder = (SELECT id FROM folder WHERE path = CAST(?5 AS TEXT))"
        asked, values = _DIFFERENT.format(narrower=narrower), (*values, to_bytes(folder))
        [total] = connection.execute(asked + _HOW_MANY, values).fetchone()
        rows = connection.execute(
            asked + _BY_NAME,
            (*values, ENTRIES_SIZE, (page - 1) * ENTRIES_SIZE),
        )
        return ChangePage([_make_change(folder, *row) for row in rows], total)


def _add_up(rows: Iterable[Sequence[float]]) -> Counts:
    sums = [int(sum(column)) for column in zip(*rows, strict=True)]
    return Counts(*sums) if sums else Counts(0, 0, 0, 0, 0, 0, 0)


@contextmanager
def _open_both(
    old: RestorePoint, new: RestorePoint
) -> Iterator[tuple[sqlite3.Connection, tuple[object, ...]] | None]:
    if (old.device_id, old.source, old.part) != (new.device_id, new.source, new.part):
        raise OtherSource(f"{old} and {new} are not of one source")
    with open_point(old) as opened:
        after = place_of_point(opened[0], new) if opened is not None else None
        if opened is None or after is None:
            yield None
        else:
            yield opened[0], (after.series, opened[1].ordinal, after.ordinal, FOLDER)


def _make_change(folder: str, name: bytes, *row: int | None) -> Change:
    old_kind, old_size, old_ms, kind, size, ms = row
    return Change(
        join(folder, to_text(name)),
        KINDS[old_kind] if old_kind is not None else None,
        old_size or 0,
        moment_of(old_ms),
        KINDS[kind] if kind is not None else None,
        size or 0,
        moment_of(ms),
    )
