"""How the console's own backup stands, for the page of the repositories."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from backupsite.repositories.console_backup import DAILY, TOO_OLD
from backupsite.repositories.models import ConsoleBackup, ConsoleRepository
from backupsite.web.status import Status


@dataclass(frozen=True)
class OwnBackup:
    """The copies of the console in one storage. `newest` is None while there is none."""

    row: ConsoleRepository
    newest: ConsoleBackup | None
    count: int
    status: Status


def list_own_backups(now: datetime) -> list[OwnBackup]:
    """Return how each storage stands. Runs two queries for each."""
    found = []
    for row in ConsoleRepository.objects.select_related("storage").order_by("pk"):
        newest = row.backups.first()
        found.append(OwnBackup(row, newest, row.backups.count(), judge(row, newest, now)))
    return found


def judge(row: ConsoleRepository, newest: ConsoleBackup | None, now: datetime) -> Status:
    """Given the newest copy in a storage, return how that is. Pure."""
    age = now - (newest.made_at if newest is not None else row.created_at)
    if age > TOO_OLD:
        return Status("Too old", "bad", "warn")
    if row.problem:
        return Status("The newest try failed", "warn", "warn")
    if newest is None:
        return Status("Waits for its first copy", "off", "waiting")
    # A tick and a queue lie between the time and the copy.
    return (
        Status("Up to date", "good", "good")
        if age < DAILY + timedelta(hours=1)
        else Status("Late", "warn", "waiting")
    )
