"""When the console copies itself, and who hears of it when that does not work."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import DatabaseError
from django.db.models import Max
from django.utils import timezone

from agents.errors import AgentError
from backupsite.accounts.models import AuditEvent
from backupsite.alerts import notices
from backupsite.recovery.models import RestorePoint
from backupsite.repositories import console_backup as own
from backupsite.repositories.console_keeping import thin
from backupsite.repositories.models import ConsoleRepository
from backupsite.runs import chores
from backupsite.vault import VaultError

log = logging.getLogger(__name__)

CHORE = "console-backup"


def look(now: datetime) -> None:
    """A step of the tick: have a worker copy the console where that is due, and tell who must hear of it."""
    if not own.is_confirmed():
        return
    own.ensure_repositories()
    if own.has_no_place():
        _tell_no_place(now)
    rows = list(ConsoleRepository.objects.filter(next_at__lte=now).select_related("storage"))
    if rows:
        mark = read_mark()
        if any(own.is_due(row, mark, now) for row in rows):
            chores.ask(CHORE)
    tell_old(now)


def read_mark() -> str:
    """Return a text that changes with everything that a lost console must not forget: what people decided,
    and which restore points there are. Runs two queries."""
    event = AuditEvent.objects.aggregate(newest=Max("id"))["newest"]
    point = RestorePoint.objects.aggregate(newest=Max("made_at"))["newest"]
    return f"{event or 0} {point.isoformat() if point is not None else '-'}"


def back_up_where_due() -> None:
    """The chore: copy the console into every storage that is due, one after the other."""
    now = timezone.now()
    mark = read_mark()
    for row in ConsoleRepository.objects.filter(next_at__lte=now).select_related("storage").order_by("pk"):
        if own.is_due(row, mark, now) and own.claim(row, now):
            back_up_one(row, mark)


def back_up_one(row: ConsoleRepository, mark: str) -> None:
    """Copy the console into one storage and take old copies away; what went wrong is noted, and told."""
    try:
        own.back_up(row, mark)
    except (AgentError, VaultError, OSError, DatabaseError) as error:
        text = f"{error} {error.remedy}".strip() if isinstance(error, AgentError) else str(error)
        log.warning("The console could not be copied into %s: %s", row.storage, text)
        own.note_problem(row, text, timezone.now())
        _tell(row, f"The console's own backup into {row.storage.path} failed: {text}", timezone.now())
        return
    try:
        thin(row, timezone.now())
    except (AgentError, VaultError, OSError) as error:
        log.warning("Old copies of the console in %s could not be removed: %s", row.storage, error)
        own.note_problem(row, f"Old copies could not be removed: {error}", timezone.now())


def tell_old(now: datetime) -> None:
    """Tell, once a day, of each storage whose newest copy of the console is too old."""
    for row in ConsoleRepository.objects.select_related("storage"):
        newest = row.backups.first()
        since = newest.made_at if newest is not None else row.created_at
        if since < now - own.TOO_OLD:
            _tell(row, f"The newest copy of the console in {row.storage.path} is of {since:%Y-%m-%d}.", now)


def _tell_no_place(now: datetime) -> None:
    notices.tell(
        "console-backup",
        key=f"console-backup-nowhere-{now:%Y}-{now.isocalendar().week}",
        title="The console itself is not backed up",
        text="It copies itself only into places that are directories, and there is none. Add one, "
        "or copy the database and the directory of keys yourself.",
        url="/repositories/",
    )


def _tell(row: ConsoleRepository, text: str, now: datetime) -> None:
    notices.tell(
        "console-backup",
        key=f"console-backup-{row.pk}-{now:%Y%m%d}",
        title="The console itself is not backed up",
        text=f"{text}\nShould this machine be lost, what was decided since the newest copy is lost with it.",
        url="/repositories/",
    )
