"""The console's own backup on its page, and in the tick."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from backupsite import vault
from backupsite.accounts.audit import record
from backupsite.alerts.models import Notice
from backupsite.console import own_backup
from backupsite.repositories import console_backup as own
from backupsite.repositories.making import first_node
from backupsite.repositories.models import ConsoleRepository, RecoveryPassword, Storage
from backupsite.runs import chores

pytestmark = pytest.mark.django_db


@pytest.fixture
def row(settings: Settings, tmp_path: Path) -> ConsoleRepository:
    """A console whose kit is confirmed, with one storage."""
    settings.HOTFLEET_HOME = tmp_path
    vault.create_keys()
    Storage.objects.create(node=first_node(), name="main", path="/srv/<i>backups")
    RecoveryPassword.objects.create(sealed_password=b"", fingerprint="abc", kit_confirmed_at=timezone.now())
    own.ensure_repositories()
    return ConsoleRepository.objects.get()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the chores that a worker was woken for."""
    names: list[str] = []
    monkeypatch.setattr(chores, "ask", names.append)
    return names


def test_the_tick_asks_for_a_copy_only_when_something_changed(
    row: ConsoleRepository, asked: list[str]
) -> None:
    now = timezone.now()
    own_backup.look(now)
    assert asked == [own_backup.CHORE]
    row.backups.create(made_at=now, restic_id="0" * 64, size_bytes=1)
    ConsoleRepository.objects.update(mark=own_backup.read_mark(), next_at=now)
    own_backup.look(now)
    assert len(asked) == 1
    record("ada", "device.added", "db-01")
    own_backup.look(now)
    assert len(asked) == 2


def test_nothing_is_copied_before_somebody_holds_the_kit(row: ConsoleRepository, asked: list[str]) -> None:
    RecoveryPassword.objects.update(kit_confirmed_at=None)
    own_backup.look(timezone.now())
    assert not asked


def test_copies_that_are_too_old_are_told_once_a_day(row: ConsoleRepository, asked: list[str]) -> None:
    row.backups.create(
        made_at=timezone.now() - own.TOO_OLD - timedelta(hours=1), restic_id="0" * 64, size_bytes=1
    )
    now = timezone.now()
    own_backup.look(now)
    own_backup.look(now)
    (notice,) = Notice.objects.filter(kind="console-backup")
    assert "newest copy" in notice.text
    own_backup.look(now + timedelta(days=1))
    assert Notice.objects.filter(kind="console-backup").count() == 2


def test_a_console_that_has_only_object_stores_says_that_it_is_not_backed_up(
    row: ConsoleRepository, asked: list[str]
) -> None:
    ConsoleRepository.objects.all().delete()
    Storage.objects.update(kind=Storage.S3)
    for _ in range(2):
        own_backup.look(timezone.now())
    (notice,) = Notice.objects.filter(kind="console-backup")
    assert "directories" in notice.text and not asked


def test_the_page_says_how_the_copies_stand(operator: Client, row: ConsoleRepository) -> None:
    text = operator.get("/repositories/").content.decode()
    assert "Waits for its first copy" in text and "<i>backups" not in text
    row.backups.create(made_at=timezone.now(), restic_id="0" * 64, size_bytes=5_000_000)
    assert "Up to date" in operator.get("/repositories/").content.decode()
    row.backups.update(made_at=timezone.now() - timedelta(days=3))
    assert "Too old" in operator.get("/repositories/").content.decode()


def test_a_copy_can_be_asked_for(operator: Client, row: ConsoleRepository) -> None:
    ConsoleRepository.objects.update(next_at=timezone.now() + timedelta(hours=1), mark=own_backup.read_mark())
    row.backups.create(made_at=timezone.now(), restic_id="0" * 64, size_bytes=1)
    assert operator.post("/repositories/console/").status_code == 302
    row.refresh_from_db()
    assert own.is_due(row, own_backup.read_mark(), timezone.now())


def test_only_people_who_signed_in_ask_and_only_by_post(operator: Client, stranger: Client) -> None:
    assert operator.get("/repositories/console/").status_code == 405
    assert stranger.post("/repositories/console/").status_code == 302
    assert "/login/" in stranger.post("/repositories/console/")["Location"]
