"""Many writers at once make one chain: real processes, the real database (SQLite, PostgreSQL)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from backupsite.accounts.audit import record, verify_chain

pytestmark = pytest.mark.postgresql
WRITE_TEN = """
from backupsite.accounts.audit import record
for number in range(10):
    record("ada", "device.changed", f"db-{number}")
"""


def start(home: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "HOTFLEET_HOME": str(home), "DJANGO_SETTINGS_MODULE": "backupsite.settings"}
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *words]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


def test_processes_that_write_at_once_make_one_chain(tmp_path: Path) -> None:
    finish(start(tmp_path, "migrate", "--skip-checks", "accounts"))
    for writer in [start(tmp_path, "shell", "-c", WRITE_TEN) for _ in range(4)]:
        finish(writer)
    assert "40 events, all fit" in finish(start(tmp_path, "verify_audit"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_a_test_with_real_transactions_leaves_no_event_behind(turn: int) -> None:
    assert verify_chain().count == 0
    record("ada", "device.added", f"db-{turn}")
