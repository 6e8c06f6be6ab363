"""The set-up code, the static files, the checks: what a start does before anything runs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from backupsite import checks, setup_code, vault
from backupsite.accounts.models import User
from backupsite.serve import prepare


@pytest.fixture(autouse=True)
def _home(settings: Settings, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    settings.HOTFLEET_HOME = tmp_path


def test_only_the_newest_code_is_good() -> None:
    first = setup_code.issue()
    second = setup_code.issue()
    assert setup_code.check(second) and setup_code.check(second)
    assert not setup_code.check(first)
    assert not setup_code.check("")


def test_a_code_is_worthless_after_half_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    code = setup_code.issue()
    now = time.time()
    monkeypatch.setattr(setup_code.time, "time", lambda: now + 29 * 60)
    assert setup_code.check(code)
    monkeypatch.setattr(setup_code.time, "time", lambda: now + 31 * 60)
    assert not setup_code.check(code)


def test_a_withdrawn_code_is_worthless() -> None:
    code = setup_code.issue()
    setup_code.withdraw()
    setup_code.withdraw()
    assert not setup_code.check(code)


def test_the_code_itself_is_not_on_the_disk(tmp_path: Path) -> None:
    code = setup_code.issue()
    assert all(code not in path.read_text() for path in tmp_path.iterdir())
    assert (tmp_path / "setup-code").stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db
def test_the_first_page_is_the_setup_until_there_is_an_administrator() -> None:
    assert "/setup/?code=" in prepare._first_page()
    User.objects.create_user("operator", "correct horse battery")
    assert "/setup/?code=" in prepare._first_page()
    User.objects.create_user("ada", "correct horse battery", is_superuser=True)
    assert prepare._first_page().endswith("/login/")


def test_static_files_are_collected_when_one_changed_and_not_again(
    settings: Settings, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "page.css").write_text("a { color: red }")
    settings.STATICFILES_DIRS = [source]
    settings.STATIC_ROOT = tmp_path / "collected"
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "backupsite.web.staticfiles.ManifestStorage"}
    }
    prepare._collect_static_files()
    manifest = settings.STATIC_ROOT / "staticfiles.json"
    first = manifest.stat().st_mtime_ns
    prepare._collect_static_files()
    assert manifest.stat().st_mtime_ns == first
    (source / "page.css").write_text("a { color: blue }")
    os.utime(source / "page.css", (time.time() + 5, time.time() + 5))
    prepare._collect_static_files()
    assert manifest.stat().st_mtime_ns > first
    # The page of before is gone: `clear` leaves one hashed copy and its compressed one.
    assert len(list(settings.STATIC_ROOT.glob("page.*.css"))) == 1


def test_a_home_that_others_may_read_is_an_error(tmp_path: Path) -> None:
    assert checks.check_home(None) == []
    tmp_path.chmod(0o750)
    assert "chmod 700" in checks.check_home(None)[0].msg


def test_keys_that_do_not_belong_together_are_an_error(tmp_path: Path) -> None:
    assert checks.check_vault(None) == []  # before the first start
    vault.create_keys()
    assert checks.check_vault(None) == []
    (tmp_path / "keys" / "workers").write_text("00" * 32 + "\n")
    assert "do not work" in checks.check_vault(None)[0].msg
    (tmp_path / "keys" / "workers").unlink()
    assert checks.check_vault(None) == []  # a machine that only serves pages


def test_a_pattern_among_the_hosts_is_an_error(settings: Settings) -> None:
    for pattern in ("*", ".example.org"):
        settings.ALLOWED_HOSTS = [pattern]
        assert checks.check_hosts(None)[0].id == "hotfleet.E003"
    settings.ALLOWED_HOSTS = ["backup.example.org"]
    assert checks.check_hosts(None) == []


@pytest.mark.django_db
def test_anybody_may_ask_whether_the_console_works(client: Client) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert client.post("/healthz").status_code == 405
