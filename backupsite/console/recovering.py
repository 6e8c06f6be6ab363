"""A lost console comes back: its newest copy in this home, its storages fenced, its schedules paused.

1. Everything is fetched and checked in `<home>/recovering` before anything is laid into place.
2. When a later step fails, keys and database are taken away again: the home is as empty as before.
3. The storages are marked anew last: from then on the old console, should it still live, finds that they are
   not the places that it set up, and touches neither them nor, since each run asks them first, the devices.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

from agents.commands import Secret
from agents.errors import AgentError
from backupsite import vault
from backupsite.accounts.audit import record
from backupsite.accounts.models import StoredSession
from backupsite.console.pausing_page import restate_paused
from backupsite.fleet.devices import Actor
from backupsite.policies.pausing import pause
from backupsite.repositories import console_recovery as lost_console
from backupsite.repositories.console_backup import FOLDER
from backupsite.repositories.console_copy import POSTGRESQL, TooNew, load_postgresql
from backupsite.repositories.console_recovery import Copy, LostConsole, RecoveryRefused
from backupsite.repositories.making import open_repository, recovery_password
from backupsite.repositories.models import ConsoleRepository, Repository, Storage
from backupsite.repositories.storage import MARKER
from backupsite.runs.models import Run, TickLease
from backupsite.runs.states import State

Say = Callable[[str], None]
ACTOR: Final = Actor("recovery")
PAUSED_FOR: Final = timedelta(days=30)


@dataclass(frozen=True)
class Recovered:
    """What a person must know of a recovered console. `missing` are sentences, the worst first."""

    made_at: datetime
    repositories: int
    missing: list[str]


def recover(directory: Path, password: Secret, say: Say) -> Recovered:
    """Given where backups lie and the kit's password, make this home the console that was lost.

    Raise AgentError, with what to do, when it cannot be done; then nothing is left behind here."""
    home = Path(settings.HOTFLEET_HOME)
    lost_console.require_unused(home)
    lost = lost_console.find_console(directory, password)
    folder = home / "recovering"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, folder)
        copy = lost_console.fetch_newest(lost, password, folder, say)
        say(
            f"The newest copy of the console is of {copy.made_at:%Y-%m-%d %H:%M} UTC, from {copy.about.host}."
        )
        with ExitStack() as way_back:
            _lay_into_place(lost, copy, way_back)
            found = settle(lost, copy, password)
            way_back.pop_all()
    return found


def _lay_into_place(lost: LostConsole, copy: Copy, way_back: ExitStack) -> None:
    is_postgresql = connection.vendor == "postgresql"
    if is_postgresql != (copy.about.engine == POSTGRESQL):
        raise RecoveryRefused(
            f"The console kept its data in {copy.about.engine}; DATABASE_URL here says something else.",
            remedy="Set DATABASE_URL to an empty PostgreSQL database."
            if copy.about.engine == POSTGRESQL
            else "Start without DATABASE_URL.",
        )
    if not vault.has_private_key():
        way_back.callback(shutil.rmtree, Path(settings.HOTFLEET_HOME) / "keys", ignore_errors=True)
        vault.restore_keys(lost.keys)
    connection.close()
    if is_postgresql:
        if connection.introspection.table_names():
            raise RecoveryRefused("The database of DATABASE_URL is in use.", remedy="Name an empty one.")
        load_postgresql(copy.file)
    else:
        database = Path(str(connection.settings_dict["NAME"]))
        for file in (database, Path(f"{database}-wal"), Path(f"{database}-shm")):
            way_back.callback(file.unlink, missing_ok=True)
        copy.file.rename(database)
    way_back.callback(connection.close)
    bring_up_to_date()


def bring_up_to_date() -> None:
    """Run the migrations that are newer than the copy. Raise TooNew when it has some that we do not know."""
    loader = MigrationLoader(connection)
    applied = set(loader.applied_migrations or ())
    unknown = sorted(".".join(each) for each in applied - set(loader.disk_migrations or ()))
    if unknown:
        raise TooNew(
            "The console was of a newer version than this one.",
            remedy="Recover it with that version of Hotfleet or a newer one.",
            detail=f"This one does not know {', '.join(unknown[:5])}.",
        )
    call_command("migrate", interactive=False, verbosity=0, skip_checks=True)


@transaction.atomic
def settle(lost: LostConsole, copy: Copy, password: Secret) -> Recovered:
    """Make the rows of a copy those of a console that has just come back, and fence its storages."""
    now = timezone.now()
    _require_fitting_keys(password)
    missing = [_locate(storage, lost, password) for storage in Storage.objects.order_by("pk")]
    count, broken = _check_repositories()
    end_runs(now)
    StoredSession.objects.all().delete()
    TickLease.objects.all().delete()
    _note_copy(lost, copy)
    reason = "This console was recovered. Somebody has to confirm that the old one is off."
    pause(ACTOR, None, until=now + PAUSED_FOR, reason=reason, now=now)
    restate_paused(None)
    record(
        ACTOR.name,
        "console.recovered",
        str(lost.storage),
        {"copy": copy.restic_id, "was": copy.about.console_id},
    )
    for storage in Storage.objects.filter(kind=Storage.DIRECTORY):
        if _is_marked(storage):
            Storage.objects.filter(pk=storage.pk).update(
                marker=lost_console.write_new_marker(Path(storage.path))
            )
    return Recovered(copy.made_at, count, [*(each for each in missing if each), *broken])


def _require_fitting_keys(password: Secret) -> None:
    try:
        fits = recovery_password().reveal() == password.reveal()
    except (vault.VaultError, AgentError) as error:
        raise RecoveryRefused(f"The keys do not open the secrets of the database: {error}.") from error
    if not fits:
        raise RecoveryRefused("The database is of a console with another recovery kit.")


def _locate(storage: Storage, lost: LostConsole, password: Secret) -> str:
    """Find a storage again, by the repository of the console in it or by its marker, and write down where.

    Return what is missing, "" when nothing is."""
    if storage.kind != Storage.DIRECTORY:
        return f"{storage.path} was not looked at: its page tests it."
    own = ConsoleRepository.objects.filter(storage=storage).values_list("restic_id", flat=True).first() or ""
    for path in (lost.storage, Path(storage.path)):
        if _holds(path, storage) or lost_console.is_repository(path / FOLDER, own, password):
            marker = (path / MARKER).read_text(encoding="ascii").strip() if (path / MARKER).exists() else ""
            if not marker:
                return f"{path} has lost its file {MARKER}: nothing is written to it before it has one."
            storage.path, storage.marker = str(path), marker
            storage.save(update_fields=["path", "marker"])
            return ""
    return f"{storage.path} is not there. Mount it before you confirm; the old console may still write to it."


def _holds(path: Path, storage: Storage) -> bool:
    try:
        return bool(storage.marker) and (path / MARKER).read_text(encoding="ascii").strip() == storage.marker
    except (OSError, UnicodeDecodeError):
        return False


def _is_marked(storage: Storage) -> bool:
    return _holds(Path(storage.path), storage)


def _check_repositories() -> tuple[int, list[str]]:
    """Return how many repositories open, and a sentence for each that does not."""
    count, broken = 0, []
    made = Repository.objects.exclude(restic_id="").filter(storage__kind=Storage.DIRECTORY)
    for repository in made.select_related("storage", "device", "copy_of__device"):
        try:
            opened = open_repository(repository)
            is_good = lost_console.opens(opened.path, opened.password)
        except AgentError:
            continue  # its whole storage is missing, which is said once
        count += is_good
        broken += [] if is_good else [f"The {repository} is not in {opened.path}, or does not open."]
    return count, broken


def end_runs(now: datetime) -> None:
    """End what waited or worked when the copy was made: nothing goes on by itself after a recovery."""
    text = "The console was lost and recovered."
    waiting = Run.objects.filter(state=State.QUEUED)
    waiting.update(state=State.CANCELLED, ended_at=now, error_text=text)
    working = Run.objects.filter(state=State.RUNNING)
    working.update(state=State.LOST, ended_at=now, error_code="lost", error_text=text, lease_until=None)


def _note_copy(lost: LostConsole, copy: Copy) -> None:
    """A copy cannot hold its own row."""
    row = ConsoleRepository.objects.filter(storage__path=str(lost.storage)).first()
    if row is not None:
        row.backups.get_or_create(
            restic_id=copy.restic_id, defaults={"made_at": copy.made_at, "size_bytes": copy.size_bytes}
        )
