"""Bringing restore points into the index of their device, and taking out those that the catalogue lost.

1. Restore points of a series are added in the order in which they were made: what is missing comes first.
2. Each is one transaction. A worker that is killed in the middle leaves the index as it was before.
3. One that cannot be read is noted with the reason and not tried again: the index is a convenience, and a
   repository that is broken is told of elsewhere. A file that is made new tries everything again.
"""

from __future__ import annotations

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple

from agents.browse import walk_point
from agents.errors import AgentError
from agents.restic.walking import Head, Walked
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.recovery.index import dropping, files
from backupsite.recovery.index.merging import Merge
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.origins import find_origin
from backupsite.recovery.places import place_of

log = logging.getLogger(__name__)

# Given a restore point, opens its listing.
Walk = Callable[[RestorePoint], AbstractContextManager[tuple[Head, Iterator[Walked]]]]


class _Newest(NamedTuple):
    ordinal: int
    restic_id: str
    tree: str


@contextmanager
def walk_repository(point: RestorePoint) -> Iterator[tuple[Head, Iterator[Walked]]]:
    """Open the listing of a restore point from its repository. For workers only."""
    origin = find_origin([point])
    name = origin.name_of(point.restic_id)
    with walk_point(place_of(origin.repository), console_restic(), name) as walked:
        yield walked


def add(point: RestorePoint, *, walk: Walk = walk_repository) -> int:
    """Add a restore point, and the older ones of its source that are missing. Return how many were added.

    May be called twice; nothing is done when another process writes this index: it adds all that is missing.
    For workers only: the repository is read."""
    return add_missing(point.device, walk=walk, up_to=point)


def add_missing(
    device: Device,
    *,
    walk: Walk = walk_repository,
    longest_s: float = math.inf,
    up_to: RestorePoint | None = None,
) -> int:
    """Add the device's restore points that are missing, oldest first, and drop those that the catalogue does
    not have any more. Return how many were added. For workers only.

    None is begun after `longest_s`; with `up_to` only those of its source that are not younger.
    Raise sqlite3.Error when the disk does not take it."""
    give_up = time.monotonic() + longest_s
    try:
        with files.writing(device):
            try:
                return _add_missing(device, walk, give_up, up_to)
            except sqlite3.OperationalError:
                raise
            except (sqlite3.DatabaseError, files.Broken) as error:
                files.drop_broken(files.file_of(device), error)
                return _add_missing(device, walk, give_up, up_to)
    except files.Busy:
        return 0


def _add_missing(device: Device, walk: Walk, give_up: float, up_to: RestorePoint | None) -> int:
    points = RestorePoint.objects.filter(device=device)
    wanted = points
    if up_to is not None:
        wanted = points.filter(source=up_to.source, part=up_to.part, made_at__lte=up_to.made_at)
    with files.open_for_writing(device) as write:
        dropping.drop_others(write, {pk.hex for pk in points.values_list("pk", flat=True)})
        known = list_known(write)
        made = wanted.select_related("device", "repository__storage").order_by("made_at", "pk")
        missing = [point for point in made if point.pk.hex not in known]
        return Adder(write, walk).add_all(missing, give_up)


def list_known(connection: sqlite3.Connection) -> set[str]:
    """Given an open index, return the ids (hex) of the restore points that it knows, readable or not."""
    return {row[0].decode() for row in connection.execute("SELECT id FROM point")}


def has_missing(device: Device) -> bool:
    """Return whether the index and the catalogue differ. Runs one query."""
    made = {pk.hex for pk in RestorePoint.objects.filter(device=device).values_list("pk", flat=True)}
    try:
        with files.open_for_reading(files.file_of(device)) as connection:
            return made != (list_known(connection) if connection is not None else set())
    except files.Broken:
        return bool(made)


class Adder:
    """Adds restore points to an open index."""

    def __init__(self, write: sqlite3.Connection, walk: Walk) -> None:
        self._write, self._walk = write, walk
        self._is_checked = False

    def add_all(self, missing: Iterable[RestorePoint], give_up: float = math.inf) -> int:
        """Add these restore points in this order, none after `give_up`; return how many could be added."""
        count = 0
        for point in missing:
            if time.monotonic() > give_up:
                break
            try:
                with _transaction(self._write):
                    self._add(point)
                    count += 1
            except AgentError as error:
                if error.retryable:
                    log.warning("Restore point %s waits for the index: %s", point.pk, error)
                    break
                log.warning("Restore point %s is not in the index: %s", point.pk, error)
                with _transaction(self._write):
                    _note(self._write, point, _series(self._write, point), None, str(error)[:1000])
        return count

    def _add(self, point: RestorePoint) -> None:
        series = _series(self._write, point)
        newest = _newest(self._write, series)
        if newest is not None and newest.restic_id == point.restic_id:
            _note(self._write, point, series, newest.ordinal)
            return
        with self._walk(point) as (head, nodes):
            if newest is not None and newest.tree == head.tree:
                _note(self._write, point, series, newest.ordinal)
                return
            self._merge(point, series, newest.ordinal + 1 if newest is not None else 1, head, nodes)

    def _merge(
        self, point: RestorePoint, series: int, ordinal: int, head: Head, nodes: Iterator[Walked]
    ) -> None:
        if not self._is_checked:
            files.check(self._write)
            self._is_checked = True
        with files.open_for_reading(files.file_of(point.device)) as read:
            if read is None:
                raise sqlite3.DatabaseError("the index vanished while it was written")
            merge = Merge(read, self._write, series, ordinal)
            merge.run(nodes)
        self._write.execute(
            "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)",
            (series, ordinal, point.restic_id, head.tree, merge.entries, merge.skipped),
        )
        _note(self._write, point, series, ordinal)


@contextmanager
def _transaction(write: sqlite3.Connection) -> Iterator[None]:
    write.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        write.rollback()
        raise
    write.commit()


def _series(write: sqlite3.Connection, point: RestorePoint) -> int:
    names = (point.source, point.part)
    write.execute("INSERT OR IGNORE INTO series (source, part) VALUES (?, ?)", names)
    return int(write.execute("SELECT id FROM series WHERE source = ? AND part = ?", names).fetchone()[0])


def _newest(write: sqlite3.Connection, series: int) -> _Newest | None:
    asked = "SELECT ordinal, restic_id, tree FROM state WHERE series = ? ORDER BY ordinal DESC LIMIT 1"
    row = write.execute(asked, (series,)).fetchone()
    return _Newest(row[0], row[1].decode(), row[2].decode()) if row is not None else None


def _note(
    write: sqlite3.Connection, point: RestorePoint, series: int, ordinal: int | None, fault: str = ""
) -> None:
    write.execute(
        "INSERT INTO point VALUES (?, ?, ?, ?, ?)",
        (point.pk.hex, series, ordinal, point.made_at.timestamp(), fault.encode("utf-8", "replace").decode()),
    )
