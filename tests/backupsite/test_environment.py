"""Settings come from the environment; a bad value is refused with a hint, not guessed at."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from backupsite import environment


def test_a_secret_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    monkeypatch.setenv("THING_FILE", str(tmp_path / "secret"))
    assert environment.read("THING") == "s3cret"
    monkeypatch.setenv("THING", "other")
    with pytest.raises(ImproperlyConfigured, match="not both"):
        environment.read("THING")


@pytest.mark.parametrize("value", ["0", "65536", "-1", "http", "8 0", "٨٠"])
def test_a_bad_port_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", value)
    with pytest.raises(ImproperlyConfigured, match="from 1 to 65535"):
        environment.read_port("PORT", 1)


@pytest.mark.parametrize("value", ["0", "201", "many", "1.5"])
def test_a_bad_number_of_workers_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", value)
    with pytest.raises(ImproperlyConfigured, match="from 1 to 200"):
        environment.read_count("WORKERS", 1)


@pytest.mark.parametrize(
    "value", ["backup.example.org", "https://*", "https://a/b", "ftp://a", "https://a b"]
)
def test_a_bad_origin_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTFLEET_ORIGIN", value)
    with pytest.raises(ImproperlyConfigured):
        environment.origins(8700)


def test_without_an_origin_only_this_machine_may_ask() -> None:
    assert environment.origins(8700) == ["http://127.0.0.1:8700", "http://localhost:8700"]


def test_a_postgresql_address_is_taken_apart() -> None:
    url = "postgresql://me:p%40ss@db.example.org:5433/hot?sslmode=verify-full"
    found = environment.database(url, Path("/h"))
    assert found["USER"] == "me" and found["PASSWORD"] == "p@ss"
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example.org", "5433", "hot")
    assert found["OPTIONS"] == {"sslmode": "verify-full"}


def test_a_postgresql_on_a_unix_socket_has_a_directory_as_host() -> None:
    found = environment.database("postgresql://me@/hot?host=/run/postgresql", Path("/h"))
    assert (found["HOST"], found["OPTIONS"]) == ("/run/postgresql", {})


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="postgresql://"):
        environment.database("mysql://me@db/hot", Path("/h"))


def test_an_unknown_log_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOTFLEET_LOG_LEVEL", "chatty")
    with pytest.raises(ImproperlyConfigured, match="DEBUG, INFO"):
        environment.log_level()
