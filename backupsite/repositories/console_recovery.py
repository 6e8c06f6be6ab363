"""A lost console's copies, opened with the recovery password alone: found, checked, laid into a new home."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agents.commands import Secret
from agents.errors import AgentError, RepositoryBroken
from agents.restic.keys import open_master_key
from agents.restic.repository import Repository as Engine
from agents.restic.repository import SnapshotInfo, open_repository
from backupsite import vault
from backupsite.engine import console_restic
from backupsite.repositories import console_copy
from backupsite.repositories.console_backup import FOLDER, KEYS, KEYS_FORMAT, TAG
from backupsite.repositories.storage import MARKER

# What a home holds that nobody has used yet: made by each start of any command, or places for backups.
UNUSED: Final = frozenset({"console-id", "secret-key", "repositories", "recovering", "static"})


class RecoveryRefused(AgentError):
    """The console cannot be recovered like this. Nothing was changed."""

    code = "recovery-refused"


@dataclass(frozen=True)
class LostConsole:
    """Where the copies of a lost console lie, and what opens its secrets."""

    storage: Path
    keys: list[Secret]

    @property
    def repository(self) -> Path:
        return self.storage / FOLDER


@dataclass(frozen=True)
class Copy:
    """A copy of its database, in a file of this machine."""

    file: Path
    about: console_copy.About
    restic_id: str
    made_at: datetime
    size_bytes: int


def require_unused(home: Path) -> None:
    """Raise RecoveryRefused when a home holds more than every start leaves in it."""
    found = sorted(path.name for path in home.iterdir() if path.name not in UNUSED)
    if found:
        raise RecoveryRefused(
            f"{home} is in use: it holds {', '.join(found[:5])}.",
            remedy="Recover into an empty directory: set HOTFLEET_HOME to a new one.",
        )


def find_console(directory: Path, password: Secret) -> LostConsole:
    """Given a storage, or the repository `console` in it, return the lost console. Raise RecoveryRefused."""
    storage = directory if (directory / FOLDER / "config").exists() else directory.parent
    if not (storage / FOLDER / "config").exists():
        raise RecoveryRefused(
            f"There is no backup of a console in {directory}.",
            remedy=f"Name the place for backups that the kit lists: the directory that holds “{FOLDER}”. Is "
            "its disk mounted?",
        )
    return LostConsole(storage, _open_keys(storage / KEYS, password))


def _open_keys(path: Path, password: Secret) -> list[Secret]:
    try:
        record = json.loads(path.read_text(encoding="ascii"))
        number, kit, locked = int(record["format"]), str(record["kit"]), str(record["keys"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecoveryRefused(
            f"{path}, which holds the keys of the console, cannot be read.",
            remedy="Every place for backups holds such a file: try another one. Without the keys restore by "
            "hand, as the kit says: that needs nothing of the console.",
            detail=str(error),
        ) from error
    if number > KEYS_FORMAT:
        raise RecoveryRefused(f"{path} was written by a newer version of Hotfleet. Recover it with that one.")
    try:
        return vault.unlock_keys(locked, password)
    except vault.VaultError as error:
        raise RecoveryRefused(
            f"This is not the password of the recovery kit {kit}.",
            remedy=f"The kit's number stands in its first line; this console needs kit {kit}. The dashes are "
            "part of the password.",
            detail=str(error),
        ) from error


def fetch_newest(lost: LostConsole, password: Secret, folder: Path, say: Callable[[str], None]) -> Copy:
    """Given an empty folder, fetch the newest copy that is whole. Tell of newer ones that are not.

    Raise RecoveryRefused when there is none, TooNew when it is of a newer version."""
    with open_repository(lost.repository, password, console_restic()) as engine:
        found = [each for each in engine.list_snapshots() if TAG in each.tags]
        for each in sorted(found, key=_time_of, reverse=True):
            try:
                return _fetch(engine, each, folder)
            except console_copy.TooNew:
                raise
            except AgentError as error:
                say(f"The copy of {_time_of(each):%Y-%m-%d %H:%M} UTC cannot be used: {error}")
    raise RecoveryRefused(f"{lost.repository} holds no copy of a console that is whole.")


def _time_of(snapshot: SnapshotInfo) -> datetime:
    return snapshot.time or datetime.min.replace(tzinfo=UTC)


def _fetch(engine: Engine, snapshot: SnapshotInfo, folder: Path) -> Copy:
    paths = {Path(path).name: path for path in snapshot.paths}
    if console_copy.ABOUT not in paths:
        raise console_copy.CopyFailed("It does not say what it is.")
    text = b"".join(engine.dump_file(snapshot.snapshot_id, paths[console_copy.ABOUT]))
    about = console_copy.parse_about(text.decode(errors="replace"))
    name = console_copy.NAMES[about.engine]
    if name not in paths:
        raise console_copy.CopyFailed("It holds no database.")
    file = folder / name
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
        for piece in engine.dump_file(snapshot.snapshot_id, paths[name]):
            target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    if about.engine == console_copy.SQLITE:
        console_copy.check_sqlite(file)
    return Copy(file, about, snapshot.snapshot_id, _time_of(snapshot), file.stat().st_size)


def is_repository(path: Path, restic_id: str, password: Secret) -> bool:
    """Return True when a directory holds the restic repository of this id, and this password opens it."""
    if not restic_id:
        return False
    try:
        with open_repository(path, password, console_restic()) as engine:
            return engine.read_id() == restic_id
    except (AgentError, OSError):
        return False


def opens(path: Path, password: Secret) -> bool:
    """Return True when a directory holds a restic repository that this password opens."""
    try:
        open_master_key(path, password)
    except RepositoryBroken:
        return False
    return True


def write_new_marker(storage: Path) -> str:
    """Mark a storage anew, durably: whoever knows its old marker alone does not write to it any more."""
    marker = secrets.token_hex(16)
    draft = storage / f"{MARKER}.new"
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(f"{marker}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(storage / MARKER)
    folder = os.open(storage, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return marker
