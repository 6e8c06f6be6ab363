"""The console's own backup: its database into a repository of its own in each storage that is a directory.

    <storage>/console            the repository: copies of the database, in which every secret is sealed
    <storage>/console.keys       what opens those secrets, locked with the recovery password

The two never lie in one restore point. The printed kit opens both; neither the storage alone nor the kit
alone opens anything. What else is in the home can be made again (docs/operate.md).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from agents.commands import Secret
from agents.restic.repository import Repository as Engine
from agents.restic.repository import create, open_repository
from backupsite import vault
from backupsite.engine import console_restic
from backupsite.repositories.console_copy import copy_console
from backupsite.repositories.making import recovery_password
from backupsite.repositories.models import ConsoleBackup, ConsoleRepository, RecoveryPassword, Storage
from backupsite.repositories.nodes import list_here
from backupsite.repositories.storage import require_storage

FOLDER: Final = "console"
KEYS: Final = "console.keys"
HOST: Final = "hotfleet-console"
TAG: Final = "hotfleet-console"
KEYS_FORMAT: Final = 1

DAILY: Final = timedelta(days=1)
# Changes are copied too, but no more often than this.
SOONEST: Final = timedelta(hours=1)
AFTER_FAILURE: Final = timedelta(minutes=15)
# From then on people are told.
TOO_OLD: Final = timedelta(days=2)


def ensure_repositories() -> None:
    """Make the rows of storages that have none. The repository itself is made with its first copy."""
    missing = list_here().filter(kind=Storage.DIRECTORY, console_repository=None)
    for storage in missing:
        with transaction.atomic():
            ConsoleRepository.objects.get_or_create(
                storage=storage,
                defaults={
                    "sealed_password": vault.seal(owner_of(storage), Secret(secrets.token_urlsafe(48))),
                    "next_at": timezone.now(),
                },
            )


def has_no_place() -> bool:
    """Return True when there are places for backups, and none that the console can copy itself into."""
    return Storage.objects.exists() and not ConsoleRepository.objects.exists()


def owner_of(storage: Storage) -> str:
    """Given a storage, return the owner under which the password of its repository is sealed."""
    return f"repositories.consolerepository:{storage.pk}:password"


def is_confirmed() -> bool:
    """Return True once somebody holds the kit: without it a copy could not be opened on the day it is for."""
    return RecoveryPassword.objects.filter(kit_confirmed_at__isnull=False).exists()


def is_due(row: ConsoleRepository, mark: str, now: datetime) -> bool:
    """Given the state of the console as one text, return True when a copy has to be made. Runs one query."""
    if row.next_at > now:
        return False
    newest = row.backups.first()
    return newest is None or bool(row.problem) or row.mark != mark or newest.made_at < now - DAILY


def claim(row: ConsoleRepository, now: datetime) -> bool:
    """Take the right to one attempt; a worker that dies leaves it to the next one after a while."""
    mine = ConsoleRepository.objects.filter(pk=row.pk, next_at=row.next_at)
    is_mine = bool(mine.update(next_at=now + AFTER_FAILURE))
    if is_mine:
        row.next_at = now + AFTER_FAILURE
    return is_mine


def back_up(row: ConsoleRepository, mark: str) -> ConsoleBackup:
    """Make a copy of the console, read it back and note it. For workers.

    Raise AgentError or VaultError when it could not be made; what was there before stays good."""
    storage = require_storage(row.storage)
    recovery = recovery_password()
    password = vault.unseal(owner_of(row.storage), row.sealed_password)
    path = storage / FOLDER
    if not (path / "config").exists():
        create(path, password, recovery, console_restic())
    write_keys(storage, recovery)
    now = timezone.now()
    with _staging(row) as folder, open_repository(path, password, console_restic()) as engine:
        # Before the copy: it has to say by itself in which repository it lies.
        _note_id(row, engine)
        files = copy_console(folder)
        size = sum(file.stat().st_size for file in files)
        restic_id = engine.store([str(file) for file in files], host=HOST, tags=[TAG])
        engine.read_back(restic_id)
    made = row.backups.create(made_at=now, restic_id=restic_id, size_bytes=size)
    ConsoleRepository.objects.filter(pk=row.pk).update(problem="", problem_since=None)
    # Who asked for a copy meanwhile has moved it: theirs begins after this one.
    unmoved = ConsoleRepository.objects.filter(pk=row.pk, next_at=row.next_at)
    row.next_at = now + SOONEST
    unmoved.update(mark=mark, next_at=row.next_at)
    return made


def note_problem(row: ConsoleRepository, text: str, now: datetime) -> None:
    """Keep why there is no newer copy, and since when that is so."""
    since = row.problem_since or now
    ConsoleRepository.objects.filter(pk=row.pk).update(problem=text, problem_since=since)


def write_keys(storage: Path, recovery: Secret) -> None:
    """Lay the locked keys into a storage, durably, in the place of older ones."""
    kit = RecoveryPassword.objects.filter(kit_confirmed_at__isnull=False).values_list(
        "fingerprint", flat=True
    )
    record = {
        "format": KEYS_FORMAT,
        "what": "The keys of a Hotfleet console. The password in the recovery kit opens them.",
        "kit": kit[0],
        "console": settings.CONSOLE_ID,
        "keys": vault.lock_keys(recovery),
    }
    draft = storage / f".{KEYS}.new"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(storage / KEYS)
    folder = os.open(storage, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _note_id(row: ConsoleRepository, engine: Engine) -> None:
    if not row.restic_id:
        row.restic_id = engine.read_id()
        ConsoleRepository.objects.filter(pk=row.pk).update(restic_id=row.restic_id)


@contextmanager
def _staging(row: ConsoleRepository) -> Iterator[Path]:
    """A private folder, always at the same path: restic then knows the file from the last time."""
    folder = Path(settings.HOTFLEET_HOME) / f"own-backup-{row.pk}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
