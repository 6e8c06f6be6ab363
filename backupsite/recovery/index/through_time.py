"""One path through time: which restore points hold which version of it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from agents.commands import to_bytes
from backupsite.fleet.models import Device
from backupsite.recovery.index.files import KINDS, file_of, open_for_reading
from backupsite.recovery.index.reading import moment_of, none_when_broken


@dataclass(frozen=True, slots=True)
class Holder:
    """A restore point of a series."""

    point: UUID
    ordinal: int
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """What the path was in these restore points, one after the other; `kind` None: it was not there."""

    kind: str | None
    size_bytes: int
    modified_at: datetime | None
    holders: tuple[Holder, ...]

    @property
    def newest(self) -> Holder:
        return self.holders[-1]

    @property
    def oldest(self) -> Holder:
        return self.holders[0]


@none_when_broken
def versions(device: Device, source: str, path: str, *, part: str = "") -> list[Version] | None:
    """Return every version of a path in the restore points of a source, oldest first, with the times when it
    was not there between them. Empty when no restore point holds it; None when there is no index yet."""
    with open_for_reading(file_of(device)) as connection:
        if connection is None:
            return None
        holders = _read_holders(connection, source, part)
        rows = _read_rows(connection, source, part, path)
    if not rows:
        return []
    made: list[Version] = []
    for holder in holders:
        row = next((row for row in rows if row[0] <= holder.ordinal <= row[1]), None)
        kind, size, changed = (
            (KINDS[row[2]], row[3], moment_of(row[4])) if row is not None else (None, 0, None)
        )
        same = made[-1] if made else None
        if same is not None and (same.kind, same.size_bytes, same.modified_at) == (kind, size, changed):
            made[-1] = replace(same, holders=(*same.holders, holder))
        elif made or kind is not None:
            made.append(Version(kind, size, changed, (holder,)))
    return made


def _read_holders(connection: sqlite3.Connection, source: str, part: str) -> list[Holder]:
    rows = connection.execute(
        "SELECT point.id, ordinal, made_at FROM point JOIN series ON series.id = series"
        " WHERE source = ? AND part = ? AND ordinal IS NOT NULL ORDER BY ordinal, made_at",
        (source, part),
    )
    return [
        Holder(UUID(hex=pk.decode()), ordinal, datetime.fromtimestamp(made_at, UTC))
        for pk, ordinal, made_at in rows
    ]


def _read_rows(
    connection: sqlite3.Connection, source: str, part: str, path: str
) -> list[tuple[int, int, int, int, int | None]]:
    folder, _, name = path.rpartition("/")
    return connection.execute(
        "SELECT first, last, kind, size, modified_ms FROM entry"
        " WHERE folder = (SELECT id FROM folder WHERE path = CAST(? AS TEXT)) AND name = CAST(? AS TEXT)"
        " AND series = (SELECT id FROM series WHERE source = ? AND part = ?) ORDER BY first",
        (to_bytes(folder or "/"), to_bytes(name), source, part),
    ).fetchall()
