"""Many writers at once: one chain, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from backupsite.accounts.audit import record, verify_chain

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]


def write_ten(name: str) -> None:
    try:
        for number in range(10):
            record(name, "device.changed", f"db-{number}")
    finally:
        connection.close()


def test_writers_at_once_make_one_chain() -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_ten, ["ada", "bob", "eve", "schedule"]))
    chain = verify_chain()
    assert (chain.count, chain.broken_id) == (40, None)


def test_the_trail_is_empty_again_in_the_next_test() -> None:
    assert verify_chain().count == 0
    record("ada", "device.added", "db-01")
