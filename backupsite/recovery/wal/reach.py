"""Which moments of an application can be reached, from which restore point, with how much log."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.wal.coverage import base_for, coverage, log_between
from agents.wal.spool import read_spool
from agents.wal.words import Base, Piece, Window
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.wal.keeping import find_spool, read_batches
from backupsite.recovery.wal_models import WalStream

log = logging.getLogger(__name__)

# What a log cannot be replayed on.
DUMP = "dump"
# A page has no time for more; older moments come into view when the newer restore points are gone.
MOST_BASES = 1000
MOST_READS = 3


@dataclass(frozen=True)
class Route:
    """How one moment is reached: from a restore point, by so much log (about)."""

    moment: datetime
    point: RestorePoint
    log_bytes: int


@dataclass(frozen=True)
class Reach:
    """The windows of one log, oldest first, and what they begin from."""

    windows: tuple[Window, ...]
    pieces: tuple[Piece, ...]
    points: dict[str, RestorePoint]

    @property
    def newest(self) -> datetime | None:
        """The last moment that can be reached."""
        return max((window.until for window in self.windows), default=None)

    @property
    def oldest(self) -> datetime | None:
        return min((window.since for window in self.windows), default=None)

    def find(self, moment: datetime) -> Route | None:
        """Given a moment, return how it is reached, None when it is not."""
        base = base_for(moment, self.windows, self.pieces)
        if base is None:
            return None
        needed = log_between(base, moment, self.pieces)
        return Route(moment, self.points[base.key], _measure(needed, base, moment))

    def nearest(self, moment: datetime) -> datetime | None:
        """Given a moment, return the nearest one that can be reached; None when none can."""
        near = [min(max(moment, window.since), window.until) for window in self.windows]
        return min(near, key=lambda each: abs(each - moment), default=None)


def find_reach(stream: WalStream) -> Reach:
    """Given a stream, return what can be reached by its log. Runs three queries and reads its spool.

    Raise ProtocolBroken when what was written down of it cannot be read."""
    # The spool first: what leaves it meanwhile stands among the batches before.
    spooled = _read_spool(stream)
    pieces = (*spooled, *(batch.piece for batch in read_batches(stream)))
    points = _list_points(stream)
    windows = coverage(_make_bases(points.values()), pieces) if pieces else ()
    return Reach(windows, pieces, points)


def _read_spool(stream: WalStream) -> tuple[Piece, ...]:
    """A file may leave the spool while it is read: then it is read once more."""
    spool = find_spool(stream)
    if spool is None:
        return ()
    for attempt in range(1, MOST_READS + 1):
        try:
            return read_spool(spool)
        except (OSError, ValueError) as error:
            level = logging.WARNING if attempt == MOST_READS else logging.DEBUG
            log.log(level, "The spool %s cannot be read: %s", spool, error)
    return ()


def find_stream(point: RestorePoint) -> WalStream | None:
    """Given a restore point, return the stream of the log that continues it. Runs one query at most."""
    application, _, instance = point.source.partition(":")
    if application != "postgresql" or not is_base(point):
        return None
    streams = WalStream.objects.select_related("device")
    return streams.filter(device=point.device_id, instance=instance).first()


def is_base(point: RestorePoint) -> bool:
    """Return whether a log can be replayed on it: on files of the server, all of them."""
    return point.is_complete and point.method.partition("+")[0] != DUMP


def _list_points(stream: WalStream) -> dict[str, RestorePoint]:
    """Return a restore point of each backup that is a base, by its key."""
    found = RestorePoint.objects.filter(
        device=stream.device_id, source=stream.source, is_complete=True, resting_since=None
    )
    timed = found.filter(run__started_at__isnull=False).select_related("run", "repository", "device")
    # Of one backup the first stands for all: the parts of its stream come back together.
    listed = _first_of_each(timed.order_by("-made_at", "part")[:MOST_BASES])
    return {str(point.pk): point for point in listed if is_base(point)}


def _first_of_each(points: Iterable[RestorePoint]) -> Sequence[RestorePoint]:
    first: dict[object, RestorePoint] = {}
    for point in points:
        first.setdefault(point.run_id, point)
    return list(first.values())


def _make_bases(points: Iterable[RestorePoint]) -> list[Base]:
    return [
        Base(str(point.pk), point.run.started_at, point.made_at)
        for point in points
        if point.run is not None and point.run.started_at is not None
    ]


def _measure(pieces: Sequence[Piece], base: Base, moment: datetime) -> int:
    """Return about how many bytes are replayed: within a piece, by the share of its time."""
    total = 0.0
    for piece in pieces:
        share = 1.0
        if piece.since is not None and piece.until is not None:
            first, last = piece.since.at, piece.until.at
            spanned = (last - first).total_seconds()
            used = (min(last, moment) - max(first, base.began)).total_seconds()
            share = min(1.0, max(0.0, used / spanned)) if spanned > 0 else 1.0
        total += (piece.end - piece.start) * share
    return round(total)
