"""The console's own backup: real restic, a real SQLite database, and what neither half opens alone."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from agents.commands import Secret
from agents.errors import RepositoryBroken
from agents.restic.keys import open_master_key
from agents.restic.repository import open_repository
from backupsite import vault
from backupsite.alerts.models import Notice
from backupsite.console import own_backup
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.repositories import console_backup as own
from backupsite.repositories import console_copy, kit
from backupsite.repositories.console_keeping import choose_kept, thin
from backupsite.repositories.models import ConsoleBackup, ConsoleRepository, Storage
from tests.backupsite.repositories.kits import read_password

# A copy is of what is committed: SQLite refuses it inside of a transaction of its own connection.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def password(storage: Storage) -> Secret:
    """A confirmed kit's password."""
    found = read_password(kit.make_kit().text)
    assert kit.confirm_kit(found[-kit.ENDING_LENGTH :])
    return Secret(found)


@pytest.fixture
def row(storage: Storage, password: Secret) -> ConsoleRepository:
    own.ensure_repositories()
    own.ensure_repositories()
    return ConsoleRepository.objects.get(storage=storage)


def test_a_copy_holds_the_database_and_never_a_key(
    row: ConsoleRepository, password: Secret, device: Device, home: Path
) -> None:
    made = own.back_up(row, "mark")
    path = Path(row.storage.path)
    with open_repository(path / own.FOLDER, password, console_restic()) as engine:
        (found,) = engine.list_snapshots()
        contents = {Path(name).name: b"".join(engine.dump_file(made.restic_id, name)) for name in found.paths}
    assert sorted(contents) == ["console.json", "hotfleet.sqlite3"]
    assert console_copy.parse_about(contents["console.json"].decode()).engine == "sqlite"
    copy = home / "copy"
    copy.write_bytes(contents["hotfleet.sqlite3"])
    with sqlite3.connect(copy) as database:
        assert database.execute("SELECT name FROM fleet_device").fetchall() == [("db-01",)]
    key = (home / "keys" / "workers").read_text().strip()
    assert all(
        key.encode() not in content and bytes.fromhex(key) not in content for content in contents.values()
    )
    assert not list(home.glob("own-backup-*"))


def test_the_kit_opens_the_keys_and_nothing_else_does(
    row: ConsoleRepository, password: Secret, home: Path
) -> None:
    own.back_up(row, "mark")
    written = json.loads((Path(row.storage.path) / own.KEYS).read_text())
    (key,) = vault.unlock_keys(written["keys"], password)
    assert key.reveal() == (home / "keys" / "workers").read_text().strip()
    assert key.reveal() not in json.dumps(written) and password.reveal() not in json.dumps(written)
    with pytest.raises(vault.VaultError, match="does not open"):
        vault.unlock_keys(written["keys"], Secret("another"))
    with pytest.raises(RepositoryBroken):
        open_master_key(Path(row.storage.path) / own.FOLDER, Secret("another"))


def test_it_is_due_daily_and_after_a_change_but_not_more_often_than_every_hour(
    row: ConsoleRepository,
) -> None:
    now = timezone.now()
    assert own.is_due(row, "one", now)
    row.backups.create(made_at=now, restic_id="0" * 64, size_bytes=1)
    row.mark, row.next_at = "one", now + own.SOONEST
    assert not own.is_due(row, "two", now)
    later = now + own.SOONEST + timedelta(minutes=1)
    assert own.is_due(row, "two", later)
    assert not own.is_due(row, "one", later)
    assert own.is_due(row, "one", now + own.DAILY + timedelta(minutes=1))


def test_only_one_worker_makes_a_copy(row: ConsoleRepository) -> None:
    now = timezone.now()
    as_another_sees_it = ConsoleRepository.objects.get(pk=row.pk)
    assert own.claim(row, now)
    assert not own.claim(as_another_sees_it, now)


def test_a_copy_that_was_asked_for_while_one_is_made_is_another_one(row: ConsoleRepository) -> None:
    now = timezone.now()
    assert own.claim(row, now)
    ConsoleRepository.objects.update(next_at=now, mark="")  # the button
    own.back_up(row, "state")
    row.refresh_from_db()
    assert own.is_due(row, "state", now)


def test_a_storage_that_is_not_there_is_noted_and_told_once(row: ConsoleRepository) -> None:
    (Path(row.storage.path) / ".hotfleet-storage").unlink()
    for _ in range(2):
        own_backup.back_up_one(row, "mark")
        row.refresh_from_db()
    assert "is not there" in row.problem and row.problem_since is not None
    assert not ConsoleBackup.objects.exists()
    assert Notice.objects.filter(kind="console-backup").count() == 1


def test_a_damaged_database_is_no_copy(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    with sqlite3.connect(broken) as database:
        database.execute("CREATE TABLE a (b TEXT)")
        database.executemany("INSERT INTO a VALUES (?)", [("x" * 1000,) for _ in range(100)])
    database.close()
    with broken.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 8192)
    with pytest.raises(console_copy.CopyFailed):
        console_copy.check_sqlite(broken)


def test_what_a_newer_console_made_is_refused() -> None:
    text = json.dumps({"format": 99, "engine": "sqlite", "version": "9", "console_id": "a", "host": "b"})
    with pytest.raises(console_copy.CopyFailed, match="newer version"):
        console_copy.parse_about(text)


def test_seven_days_and_eight_weeks_are_kept() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)  # a Sunday
    hourly = [now - timedelta(hours=hours) for hours in range(24 * 200)]
    kept = choose_kept(hourly, now)
    days = {each.date() for each in kept}
    assert {(now - timedelta(days=day)).date() for day in range(7)} <= days
    assert len({each.isocalendar()[:2] for each in kept}) == 8
    assert len([each for each in kept if each > now - timedelta(hours=24)]) == 24
    assert len(kept) == 24 + 5 + 7
    assert choose_kept([now - timedelta(days=900)], now) == {now - timedelta(days=900)}


def test_old_copies_are_forgotten_by_their_ids(row: ConsoleRepository, password: Secret) -> None:
    now = timezone.now()
    old, new = own.back_up(row, "one"), own.back_up(row, "two")
    day = (now - timedelta(days=400)).replace(hour=12)
    ConsoleBackup.objects.filter(pk=new.pk).update(made_at=day)
    ConsoleBackup.objects.filter(pk=old.pk).update(made_at=day - timedelta(hours=1))
    # A worker died after restic forgot this one, and another one before it wrote this copy down.
    row.backups.create(made_at=day - timedelta(hours=2), restic_id="1" * 64, size_bytes=1)
    stray = own.back_up(row, "three")
    ConsoleBackup.objects.filter(pk=stray.pk).delete()
    assert thin(row, now) == 2
    with open_repository(Path(row.storage.path) / own.FOLDER, password, console_restic()) as engine:
        there = {each.snapshot_id for each in engine.list_snapshots()}
        assert there == {new.restic_id, stray.restic_id}
        assert there == set(row.backups.values_list("restic_id", flat=True))
        engine.check(read_data=True)
