"""Which copies of the console are kept: the newest of each of the last 7 days and of the last 8 weeks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from agents.restic.repository import SnapshotInfo, open_repository
from backupsite import vault
from backupsite.engine import console_restic
from backupsite.repositories.console_backup import FOLDER, TAG, owner_of
from backupsite.repositories.models import ConsoleBackup, ConsoleRepository
from backupsite.repositories.storage import require_storage

DAYS: Final = 7
WEEKS: Final = 8
# Of the last hours every copy is kept: what somebody did by mistake is noticed then.
ALL_OF: Final = timedelta(hours=24)
PRUNED_EVERY: Final = timedelta(days=7)


def choose_kept(times: Iterable[datetime], now: datetime) -> set[datetime]:
    """Given when copies were made, return those that are kept. Pure.

    The newest is always kept, and what is of the future: a clock that jumped back deletes nothing."""
    ordered = sorted(set(times), reverse=True)
    kept = {each for each in ordered if each > now - ALL_OF} | set(ordered[:1])
    days: dict[date, datetime] = {}
    weeks: dict[tuple[int, int], datetime] = {}
    for each in ordered:
        day = each.astimezone(UTC).date()
        days.setdefault(day, each)
        weeks.setdefault(day.isocalendar()[:2], each)
    return kept | set(list(days.values())[:DAYS]) | set(list(weeks.values())[:WEEKS])


def list_expired(row: ConsoleRepository, now: datetime) -> list[ConsoleBackup]:
    """Return the copies in a storage that are not kept any more. Runs one query."""
    backups = list(row.backups.all())
    kept = choose_kept((each.made_at for each in backups), now)
    return [each for each in backups if each.made_at not in kept]


def _note_strays(row: ConsoleRepository, there: Iterable[SnapshotInfo]) -> None:
    """Write down copies that nobody did: their worker died, or they are younger than the copy from which a
    console was recovered. The next time they are kept or forgotten like all others."""
    known = set(row.backups.values_list("restic_id", flat=True))
    for each in there:
        if TAG in each.tags and each.snapshot_id not in known and each.time is not None:
            row.backups.create(made_at=each.time, restic_id=each.snapshot_id, size_bytes=0)


def thin(row: ConsoleRepository, now: datetime) -> int:
    """Have restic forget the copies that are not kept, by their ids, and once a week give their space back.

    Return how many. Raise an AgentError when restic fails: the next copy tries again."""
    expired = list_expired(row, now)
    is_prune_due = row.pruned_at is None or row.pruned_at < now - PRUNED_EVERY
    if not expired:
        return 0
    path = require_storage(row.storage) / FOLDER
    password = vault.unseal(owner_of(row.storage), row.sealed_password)
    with open_repository(path, password, console_restic()) as engine:
        there = engine.list_snapshots()
        _note_strays(row, there)
        # What a worker that died had forgotten already is not forgotten again: restic would fail.
        ids = {each.restic_id for each in expired} & {each.snapshot_id for each in there}
        if ids:
            engine.forget(sorted(ids))
        ConsoleBackup.objects.filter(pk__in=[each.pk for each in expired]).delete()
        if is_prune_due:
            engine.prune()
            ConsoleRepository.objects.filter(pk=row.pk).update(pruned_at=now)
    return len(expired)
