"""Consoles, devices and kinds of runs for these tests."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from backupsite.fleet.models import Device
from backupsite.runs import kinds
from tests.backupsite.runs.grounds import Ground, Valkey
from tests.backupsite.runs.scripted import Scripted


@pytest.fixture
def ground() -> Iterator[Ground]:
    """A console of its own with a real Valkey; its database is PostgreSQL when DATABASE_URL is set."""
    # Short: the path of a unix socket has 107 bytes at most.
    home = Path(tempfile.mkdtemp(prefix="hf-runs-"))
    made = Ground(home, _make_database(os.environ.get("DATABASE_URL", "")))
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(home)


def _make_database(url: str) -> str:
    """Given the address of a PostgreSQL, return that of a new database on it; "" for SQLite."""
    if not url:
        return ""
    import psycopg

    name = f"ground_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{name}?{query}"


@pytest.fixture
def valkey(settings: Settings) -> Iterator[Valkey]:
    """A real Valkey that this process talks to."""
    directory = Path(tempfile.mkdtemp(prefix="hf-valkey-"))
    made = Valkey(directory)
    try:
        made.start()
        settings.REDIS_URL = made.url
        settings.CHANNEL_LAYERS = {
            "default": {
                "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
                "CONFIG": {"hosts": [made.url], "prefix": "hotfleet"},
            }
        }
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory)


@pytest.fixture
def device(db: None) -> Device:
    return Device.objects.create(name="db-01", slug="db-01", address="192.0.2.1")


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Scripted]:
    """The kinds of runs, each with a `do` that the test gives it."""
    made = {
        "backup": Scripted("backup", "bulk", may_retry=True),
        "restore": Scripted("restore", "interactive", may_retry=False),
        "probe": Scripted("probe", "interactive", may_retry=False),
    }
    monkeypatch.setattr(kinds, "_kinds", dict(made))
    return made
