"""Taking restore points out of an index: a version that no restore point holds any more goes with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from backupsite.recovery.index.files import OPEN


def drop_others(write: sqlite3.Connection, kept: Collection[str]) -> int:
    """Given the ids (hex) of the restore points that the catalogue has, take out the others; return how many.

    One transaction. When something goes it reads through the whole index."""
    gone = [row[0] for row in write.execute("SELECT id FROM point") if row[0].decode() not in kept]
    if not gone:
        return 0
    write.execute("BEGIN IMMEDIATE")
    try:
        write.executemany("DELETE FROM point WHERE id = CAST(? AS TEXT)", ((each,) for each in gone))
        _forget_states(write)
        write.commit()
    except BaseException:
        write.rollback()
        raise
    return len(gone)


def _forget_states(write: sqlite3.Connection) -> None:
    """1. What the newest state that is left still has is open again: the next listing is laid beside it.
    2. A version between two states that are left belongs to neither, and goes.
    3. So do folders without any version, and series without any restore point."""
    write.execute(
        "DELETE FROM state WHERE NOT EXISTS (SELECT 1 FROM point"
        " WHERE point.series = state.series AND point.ordinal = state.ordinal)"
    )
    for series, newest in write.execute(
        "SELECT id, (SELECT max(ordinal) FROM state WHERE series = id) FROM series"
    ).fetchall():
        if newest is None:
            write.execute("DELETE FROM entry WHERE series = ?", (series,))
            continue
        write.execute("DELETE FROM entry WHERE series = ? AND first > ?", (series, newest))
        write.execute(
            "UPDATE entry SET last = ? WHERE series = ? AND last >= ? AND last < ?",
            (OPEN, series, newest, OPEN),
        )
        write.execute(
            "DELETE FROM entry WHERE series = ?1 AND last < ?2 AND NOT EXISTS"
            " (SELECT 1 FROM state WHERE series = ?1 AND ordinal BETWEEN first AND last)",
            (series, OPEN),
        )
    write.execute("DELETE FROM folder WHERE id NOT IN (SELECT folder FROM entry)")
    write.execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM point)")
