"""The index of paths: making it, its size, looking into it. In a scratch home that is removed again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = (
    "import django; django.setup(); from django.core.management import call_command; "
    "call_command('migrate', verbosity=0); from tests.bench import paths; paths.measure()"
)


def run() -> None:
    """Measure in a process of its own: Django reads its settings, with the home in them, once."""
    folder = Path(tempfile.mkdtemp(prefix="hf-index-", dir=os.environ.get("HOTFLEET_BENCH_DIR")))
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    try:
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT, check=True,
            env=kept | {
                "DJANGO_SETTINGS_MODULE": "backupsite.settings",
                "HOTFLEET_HOME": str(folder / "home"),
                "HOTFLEET_LOG_LEVEL": "ERROR",
            },
        )  # fmt: skip
    finally:
        shutil.rmtree(folder)
