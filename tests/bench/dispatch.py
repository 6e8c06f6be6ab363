"""10,000 devices due in the same minute: ticks, claims and their order, on SQLite and on PostgreSQL; and how
long a dark site of 5,000 delays the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import postgresql
from tests.backupsite.runs.grounds import Valkey
from tests.bench import report

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import django; django.setup(); from tests.bench import dispatching; dispatching.measure()"


def run() -> None:
    _measure("SQLite", "")
    with postgresql.running() as url:
        _measure("PostgreSQL", url)


def _measure(name: str, database_url: str) -> None:
    """Measure in a process of its own: Django reads its settings once."""
    report.say(f"\n{name}, {report.say_load()}")
    folder = Path(tempfile.mkdtemp(prefix="hf-turn-"))  # short: the path of a socket has 107 bytes at most
    valkey = Valkey(folder)
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {
        "DJANGO_SETTINGS_MODULE": "backupsite.settings",
        "HOTFLEET_HOME": str(folder / "home"),
        "HOTFLEET_LOG_LEVEL": "ERROR",
        "REDIS_URL": valkey.url,
    }
    if database_url:
        environment["DATABASE_URL"] = database_url
    try:
        valkey.start()
        subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True, env=environment)
    finally:
        valkey.stop()
        shutil.rmtree(folder)
