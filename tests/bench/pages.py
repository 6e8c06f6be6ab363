"""Server time of the pages and of the tick of a large console, in a scratch home that is removed again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.backupsite.runs.grounds import Valkey

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import django; django.setup(); from tests.bench import large; large.measure()"


def run() -> None:
    """Measure in a process of its own: Django reads its settings, with the home in them, once."""
    folder = Path(tempfile.mkdtemp(prefix="hf-pages-"))  # short: the path of a socket has 107 bytes at most
    valkey = Valkey(folder)
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    try:
        valkey.start()
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT, check=True,
            env=kept | {
                "DJANGO_SETTINGS_MODULE": "backupsite.settings",
                "HOTFLEET_HOME": str(folder / "home"),
                "HOTFLEET_LOG_LEVEL": "ERROR",
                "REDIS_URL": valkey.url,
            },
        )  # fmt: skip
    finally:
        valkey.stop()
        shutil.rmtree(folder)
