"""A home in which the web process can seal secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from backupsite import vault


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: Settings) -> Path:
    tmp_path.chmod(0o700)
    settings.HOTFLEET_HOME = tmp_path
    vault.create_keys()
    return tmp_path
