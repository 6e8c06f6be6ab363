"""A copy of the console's database, on SQLite and on PostgreSQL: what is in it comes back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from django.db import connection

from backupsite.fleet.models import Device
from backupsite.repositories.console_copy import (
    ABOUT,
    CopyFailed,
    copy_console,
    libpq_variables,
    load_postgresql,
    parse_about,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


def test_what_was_copied_comes_back(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about, copy = copy_console(tmp_path)
    assert about.name == ABOUT and parse_about(about.read_text()).engine == connection.vendor
    if connection.vendor == "sqlite":
        with sqlite3.connect(copy) as found:
            assert found.execute("SELECT name FROM fleet_device").fetchall() == [("db-01",)]
        return
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE another")
    try:
        monkeypatch.setitem(connection.settings_dict, "NAME", "another")
        load_postgresql(copy)
        connection.close()
        assert list(Device.objects.values_list("name", flat=True)) == ["db-01"]
        with pytest.raises(CopyFailed, match="pg_restore failed"):
            load_postgresql(copy)  # it is not empty any more
    finally:
        connection.close()
        monkeypatch.undo()
        with connection.cursor() as cursor:
            cursor.execute("DROP DATABASE another")


def test_a_password_is_in_the_environment_and_never_a_word() -> None:
    variables = libpq_variables(
        {
            "NAME": "fleet", "USER": "console", "PASSWORD": "secret", "HOST": "/run/postgresql", "PORT": "",
            "OPTIONS": {"sslmode": "verify-full", "pool": True},
        }
    )  # fmt: skip
    assert variables == {
        "PGDATABASE": "fleet", "PGUSER": "console", "PGPASSWORD": "secret", "PGHOST": "/run/postgresql",
        "PGSSLMODE": "verify-full",
    }  # fmt: skip
