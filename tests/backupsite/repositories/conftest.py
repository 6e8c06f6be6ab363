"""A home with keys and a storage in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from backupsite import vault
from backupsite.fleet.models import Device
from backupsite.repositories.making import first_node
from backupsite.repositories.models import Storage
from backupsite.repositories.storage import prepare_storage


@pytest.fixture
def home(tmp_path: Path, settings: Settings) -> Path:
    """The console's home, with the workers' keys."""
    tmp_path.chmod(0o700)
    settings.HOTFLEET_HOME = tmp_path
    vault.create_keys()
    return tmp_path


@pytest.fixture
def storage(db: None, home: Path) -> Storage:
    """A tested storage in the home."""
    tested = prepare_storage(str(home / "repositories"), home)
    return Storage.objects.create(
        node=first_node(), name="repositories", path=str(tested.path), marker=tested.marker
    )


@pytest.fixture
def device(db: None) -> Device:
    return Device.objects.create(slug="db-01", name="db-01", address="192.0.2.10")
