"""Finding paths in all restore points of a device or of the fleet.

A plain look at every row: 1.5 million rows take 0.1 to 0.2 s (tests/bench/index.py), less than an index of
trigrams would save and without its four-fold room.

What is typed is a part of a name; with `*`, `?` or `[abc]` a pattern for whole names; with a slash the part
before the last slash is about the folder (from the root when it begins with a slash), the rest about the
name.
Capital letters and small ones (a to z) are the same.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from uuid import UUID

from agents.commands import to_bytes, to_text
from backupsite.fleet.models import Device
from backupsite.recovery.folders import encode_path, join
from backupsite.recovery.index.files import KINDS, OPEN, Broken, file_of, open_for_reading
from backupsite.recovery.index.reading import moment_of

log = logging.getLogger(__name__)

MOST_FOUND = 1000
# A page must come: what is left of a fleet by then is said to be left.
LONGEST_S = 4.0
_STEPS = 100_000
_SET = re.compile(r"\[[^\]]+\]")
_GLOB = re.compile(rf"[*?]|{_SET.pattern}")


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. Sizes in bytes, times of the last change; None: any."""

    text: str = ""
    kind: str = ""  # a word of files.KINDS
    smallest: int | None = None
    largest: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_empty(self) -> bool:
        return not self.text.strip("/*") and self._has_no_limits

    @property
    def _has_no_limits(self) -> bool:
        return (self.smallest, self.largest, self.since, self.until) == (None, None, None, None)


@dataclass(frozen=True, slots=True)
class Hit:
    """One path of one source: its newest version that fits, and how it went on.

    `point_count` restore points hold the path in any version. `is_deleted`: the newest restore point of the
    source does not hold it. `newest` is the newest restore point that holds this version."""

    device_id: int
    source: str
    part: str
    path: str
    kind: str
    size_bytes: int
    modified_at: datetime | None
    version_count: int
    point_count: int
    is_deleted: bool
    newest: UUID
    newest_at: float  # seconds since 1970

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0] or "/"

    @property
    def key(self) -> str:
        return encode_path(self.path)

    @property
    def folder_key(self) -> str:
        return encode_path(self.folder)


@dataclass(frozen=True, slots=True)
class Found:
    """The hits, best first. `is_more`: there are more than MOST_FOUND. `unread_count` devices have no index
    yet or were not reached in time; `point_counts` says how many restore points of each other device were
    looked into."""

    hits: list[Hit]
    is_more: bool
    unread_count: int
    point_counts: dict[int, int]
    seconds: float


_NEWEST_OF_EACH = """
SELECT folder, path, name, series, max(first), last, kind, size, modified_ms
FROM {where} GROUP BY folder, name, series LIMIT ?
"""


_HOW_MANY_POINTS = "SELECT count(*) FROM point WHERE ordinal IS NOT NULL"


class _Answer(NamedTuple):
    hits: list[Hit]
    point_count: int


class _Row(NamedTuple):
    folder: int
    path: bytes
    name: bytes
    series: int
    first: int
    last: int
    kind: int
    size: int
    modified_ms: int | None


def search(devices: Iterable[Device], query: Query, *, most: int = MOST_FOUND) -> Found:
    """Given devices and a query, return what fits. An empty query finds nothing."""
    began = monotonic()
    hits: list[Hit] = []
    unread, counts = 0, {}
    for device in devices:
        if query.is_empty or len(hits) > most:
            break
        found = _search_file(file_of(device), device.pk, query, most + 1 - len(hits), began + LONGEST_S)
        if found is None:
            unread += 1
        else:
            hits += found.hits
            counts[device.pk] = found.point_count
    best = sorted(hits[:most], key=lambda hit: _rank(hit, query))
    return Found(best, len(hits) > most, unread, counts, monotonic() - began)


def _rank(hit: Hit, query: Query) -> tuple[bool, bool, float, str]:
    """Whole names first, then what is still there, then what was changed last."""
    wanted = query.text.rpartition("/")[2].lower()
    changed = hit.modified_at.timestamp() if hit.modified_at is not None else 0.0
    return hit.name.lower() != wanted, hit.is_deleted, -changed, hit.path


def _search_file(path: Path, device_id: int, query: Query, most: int, give_up: float) -> _Answer | None:
    """Return what one index says; None when there is none, or the time is over."""
    if monotonic() > give_up:
        return None
    try:
        with open_for_reading(path) as connection:
            if connection is None:
                return None
            connection.set_progress_handler(lambda: monotonic() > give_up, _STEPS)
            where, values = make_condition(query)
            rows = connection.execute(_NEWEST_OF_EACH.format(where=where), (*values, most)).fetchall()
            make = _Maker(connection, device_id)
            [known] = connection.execute(_HOW_MANY_POINTS).fetchone()
            return _Answer([make(_Row(*row)) for row in rows], known)
    except Broken:
        return None
    except sqlite3.OperationalError as error:
        log.warning("An index was not searched to its end: %s: %s", path.name, error)
        return None


def make_condition(query: Query) -> tuple[str, list[object]]:
    """Given a query, return what follows FROM, and its values. Pure.

    Where the folder is named too, the few folders that fit are looked up first; else every row is read."""
    folder, slash, name = query.text.rpartition("/")
    conditions: list[str] = []
    values: list[object] = []
    if slash:
        conditions.append(_like("path", values, _folder_pattern(folder)))
    if name or not slash:
        whole = bool(slash) or _GLOB.search(name) is not None
        conditions.append(
            _like("name", values, name + "*" if slash and not _GLOB.search(name) else name, whole)
        )
    for column, sign, value in (
        ("kind", "=", KINDS.index(query.kind) if query.kind else None),
        ("size", ">=", query.smallest),
        ("size", "<=", query.largest),
        ("modified_ms", ">=", _milliseconds(query.since)),
        ("modified_ms", "<", _milliseconds(query.until)),
    ):
        if value is not None:
            conditions.append(f"{column} {sign} ?")
            values.append(value)
    tables = "folder CROSS JOIN entry ON folder = id" if slash else "entry CROSS JOIN folder ON folder = id"
    return f"{tables} WHERE {' AND '.join(conditions)}", values


def _milliseconds(moment: datetime | None) -> int | None:
    return round(moment.timestamp() * 1000) if moment is not None else None


def _folder_pattern(folder: str) -> str:
    """ "/etc" is that folder, "etc" every folder whose path ends so."""
    if not folder:
        return "/"
    return folder if folder.startswith(("/", "*")) else f"*{folder}"


def _like(column: str, values: list[object], text: str, whole: bool = True) -> str:
    """Return the condition that `column` fits `text`, as a whole or in a part of it."""
    if whole and _SET.search(text):
        values.append(to_bytes(text.lower()))
        return f"lower({column}) GLOB CAST(? AS TEXT)"
    pattern = re.sub(r"([%_\\])", r"\\\1", text)
    pattern = pattern.replace("*", "%").replace("?", "_") if whole else f"%{pattern}%"
    values.append(to_bytes(pattern))
    return rf"{column} LIKE CAST(? AS TEXT) ESCAPE '\'"


class _Maker:
    """Makes hits of rows, with what is asked once for each series."""

    def __init__(self, connection: sqlite3.Connection, device_id: int) -> None:
        self._connection, self._device_id = connection, device_id
        self._sources: dict[int, tuple[str, str]] = {}

    def __call__(self, row: _Row) -> Hit:
        source, part = self._source(row.series)
        versions = self._connection.execute(
            "SELECT first, last FROM entry WHERE folder = ? AND name = CAST(? AS TEXT) AND series = ?",
            (row.folder, row.name, row.series),
        ).fetchall()
        newest, newest_at = self._newest(row.series, row.first, row.last)
        return Hit(
            device_id=self._device_id,
            source=source,
            part=part,
            path=join(to_text(row.path), to_text(row.name)),
            kind=KINDS[row.kind],
            size_bytes=row.size,
            modified_at=moment_of(row.modified_ms),
            version_count=len(versions),
            point_count=sum(self._count(row.series, first, last) for first, last in versions),
            is_deleted=all(last != OPEN for _, last in versions),
            newest=newest,
            newest_at=newest_at,
        )

    def _source(self, series: int) -> tuple[str, str]:
        if series not in self._sources:
            row = self._connection.execute(
                "SELECT source, part FROM series WHERE id = ?", (series,)
            ).fetchone()
            self._sources[series] = (to_text(row[0]), to_text(row[1]))
        return self._sources[series]

    def _count(self, series: int, first: int, last: int) -> int:
        asked = "SELECT count(*) FROM point WHERE series = ? AND ordinal BETWEEN ? AND ?"
        return int(self._connection.execute(asked, (series, first, last)).fetchone()[0])

    def _newest(self, series: int, first: int, last: int) -> tuple[UUID, float]:
        row = self._connection.execute(
            "SELECT id, made_at FROM point WHERE series = ? AND ordinal BETWEEN ? AND ?"
            " ORDER BY ordinal DESC, made_at DESC LIMIT 1",
            (series, first, last),
        ).fetchone()
        return UUID(hex=to_text(row[0])), float(row[1])
