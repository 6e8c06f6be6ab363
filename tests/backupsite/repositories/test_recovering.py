"""What a recovery does with the rows of a lost console, and what it refuses. The whole of it, with real
processes and a device, is in tests/live/test_site_recover.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from agents.commands import Secret
from backupsite import vault
from backupsite.accounts.models import StoredSession
from backupsite.console import recovering
from backupsite.fleet.models import Device
from backupsite.policies.models import Pause
from backupsite.repositories import console_recovery as lost_console
from backupsite.repositories import kit
from backupsite.repositories.console_backup import FOLDER, KEYS, write_keys
from backupsite.repositories.console_copy import About, TooNew
from backupsite.repositories.console_recovery import Copy, LostConsole, RecoveryRefused
from backupsite.repositories.making import ensure_repository, first_node
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.storage import MARKER, StorageMissing, require_storage
from tests.backupsite.repositories.kits import read_password

pytestmark = pytest.mark.django_db
COPY = Copy(Path("/nowhere"), About(1, "sqlite", "0", "0badc0de", "old"), "0" * 64, timezone.now(), 7)


@pytest.fixture
def password(storage: Storage) -> Secret:
    """A confirmed kit's password."""
    found = read_password(kit.make_kit().text)
    assert kit.confirm_kit(found[-kit.ENDING_LENGTH :])
    return Secret(found)


@pytest.fixture
def lost(storage: Storage, password: Secret) -> LostConsole:
    """A lost console whose storage is at hand."""
    folder = Path(storage.path) / FOLDER
    folder.mkdir()
    (folder / "config").touch()
    write_keys(Path(storage.path), password)
    return lost_console.find_console(Path(storage.path), password)


def test_it_is_found_by_its_storage_and_by_its_repository(
    lost: LostConsole, storage: Storage, password: Secret, home: Path
) -> None:
    again = lost_console.find_console(Path(storage.path) / FOLDER, password)
    assert again.storage == lost.storage == Path(storage.path)
    (key,) = lost.keys
    assert key.reveal() == (home / "keys" / "workers").read_text().strip()


def test_every_refusal_says_what_to_do(lost: LostConsole, password: Secret, home: Path) -> None:
    with pytest.raises(RecoveryRefused, match="not the password of the recovery kit"):
        lost_console.find_console(lost.storage, Secret("another"))
    with pytest.raises(RecoveryRefused, match="no backup of a console"):
        lost_console.find_console(home, password)
    with pytest.raises(RecoveryRefused, match="is in use: it holds keys"):
        lost_console.require_unused(home)
    record = json.loads((lost.storage / KEYS).read_text())
    (lost.storage / KEYS).write_text(json.dumps({**record, "format": 2}))
    with pytest.raises(RecoveryRefused, match="newer version"):
        lost_console.find_console(lost.storage, password)
    for damaged in ("{}", "", json.dumps({**record, "keys": "x"})):
        (lost.storage / KEYS).write_text(damaged)
        with pytest.raises(RecoveryRefused):
            lost_console.find_console(lost.storage, password)
    (lost.storage / KEYS).unlink()
    with pytest.raises(RecoveryRefused, match="cannot be read"):
        lost_console.find_console(lost.storage, password)


def test_what_every_start_makes_is_no_use_of_a_home(tmp_path: Path) -> None:
    for name in ("console-id", "secret-key"):
        (tmp_path / name).touch()
    lost_console.require_unused(tmp_path)
    (tmp_path / "hotfleet.sqlite3").touch()
    with pytest.raises(RecoveryRefused, match=r"hotfleet\.sqlite3"):
        lost_console.require_unused(tmp_path)


def test_the_old_console_is_fenced_and_nothing_starts(
    lost: LostConsole, storage: Storage, password: Secret
) -> None:
    person = get_user_model().objects.create_user("ada", "correct horse battery")
    StoredSession.objects.create(key_hash="a", user=person, data="", expires_at=timezone.now())
    found = recovering.settle(lost, COPY, password)
    assert (found.repositories, found.missing) == (0, [])
    with pytest.raises(StorageMissing, match="not the place that was set up"):
        require_storage(storage)  # as the old console knows it
    assert require_storage(Storage.objects.get()) == lost.storage
    assert Pause.objects.get().made_by == "recovery"
    assert not StoredSession.objects.exists()


def test_a_storage_that_is_mounted_elsewhere_is_found_again(
    lost: LostConsole, storage: Storage, password: Secret, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    lost.storage.rename(moved)
    found = recovering.settle(LostConsole(moved, lost.keys), COPY, password)
    assert not found.missing and Storage.objects.get().path == str(moved)


def test_what_is_not_there_is_told(
    lost: LostConsole, storage: Storage, password: Secret, device: Device
) -> None:
    Storage.objects.create(node=first_node(), name="second", path="/nonexistent/second", marker="beef")
    ensure_repository(device)
    Repository.objects.update(restic_id="a" * 64, storage=storage)
    found = recovering.settle(lost, COPY, password)
    assert found.repositories == 0
    assert [word in sentence for word, sentence in zip(("second", "db-01"), found.missing, strict=True)] == [
        True,
        True,
    ]


def test_keys_that_do_not_fit_are_refused(lost: LostConsole, password: Secret, home: Path) -> None:
    for name in ("workers", "workers.pub"):
        (home / "keys" / name).unlink()
    vault.create_keys()
    with pytest.raises(RecoveryRefused, match="do not open the secrets"):
        recovering.settle(lost, COPY, password)
    assert (lost.storage / MARKER).read_text().strip() == Storage.objects.get().marker


def test_a_database_of_a_newer_version_is_refused() -> None:
    MigrationRecorder(connection).record_applied("runs", "9999_of_the_future")
    with pytest.raises(TooNew, match="newer version") as refused:
        recovering.bring_up_to_date()
    assert "9999_of_the_future" in refused.value.detail
