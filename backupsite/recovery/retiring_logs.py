"""Removing log of PostgreSQL that no restore point continues into any more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from backupsite.recovery import retiring_clock
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.retiring_holds import is_held
from backupsite.recovery.wal.reach import is_base
from backupsite.recovery.wal_models import WalBatch, WalStream
from backupsite.repositories.models import Repository

# A backup began its work at most so long before its restore point was made, when its run is not known.
LONGEST_RUN: Final = timedelta(days=14)
# Clocks of the console and of the server may differ.
MARGIN: Final = timedelta(hours=1)


def logs_due(repository: Repository, now: datetime) -> list[WalBatch]:
    """Given a repository and the server's time, return the pieces of logs in it that end before the oldest
    backup begins from which they could be replayed. Resting restore points count: they can be had back.

    While a log is followed, or is to be, nothing of it goes before there is such a backup. Nothing while the
    device or the fleet is held, or the clock is not trusted. Call `logs_forgotten` once restic did it."""
    owner = repository.owner
    if not retiring_clock.is_trusted(now) or is_held(owner.pk):
        return []
    due: list[WalBatch] = []
    for stream in WalStream.objects.filter(device=owner):
        batches = WalBatch.objects.filter(stream=stream, repository=repository)
        oldest = _oldest_begin(stream)
        if oldest is not None:
            due += batches.filter(stored_at__lt=oldest - MARGIN)
        elif not stream.is_wanted and not stream.has_slot:
            due += batches
    return due


def _oldest_begin(stream: WalStream) -> datetime | None:
    """Return when the oldest backup began that the log of a stream continues. Runs one query."""
    points = RestorePoint.objects.filter(device=stream.device_id, source=stream.source)
    began = [
        point.run.started_at
        if point.run is not None and point.run.started_at is not None
        else point.made_at - LONGEST_RUN
        for point in points.select_related("run").order_by("made_at")
        if is_base(point)
    ]
    return min(began, default=None)


def logs_forgotten(batches: Sequence[WalBatch]) -> int:
    """Remove pieces of logs that their repository has forgotten from the catalogue; return how many."""
    count = 0
    ids = [batch.pk for batch in batches]
    for start in range(0, len(ids), 500):
        count += WalBatch.objects.filter(pk__in=ids[start : start + 500]).delete()[0]
    return count
