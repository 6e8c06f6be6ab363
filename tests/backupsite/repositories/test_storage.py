"""A storage is tested by writing, marked, and refused when the marker is gone."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupsite.repositories import storage as storage_module
from backupsite.repositories.models import Storage
from backupsite.repositories.places import StorageRefused
from backupsite.repositories.storage import (
    MARKER,
    StorageMissing,
    measure_storage,
    prepare_storage,
    require_storage,
)

pytestmark = pytest.mark.django_db


def test_it_makes_tests_and_marks_the_directory(home: Path) -> None:
    tested = prepare_storage(str(home / "repositories"), home)
    assert tested.path.stat().st_mode & 0o777 == 0o700
    assert os.listdir(tested.path) == [MARKER]
    assert (tested.path / MARKER).read_text().strip() == tested.marker
    assert tested.space.free_bytes > 0


def test_two_consoles_never_share_a_directory(home: Path) -> None:
    prepare_storage(str(home / "repositories"), home)
    with pytest.raises(StorageRefused, match="another Hotfleet console"):
        prepare_storage(str(home / "repositories"), home)


def test_what_was_there_stays(home: Path) -> None:
    place = home / "repositories"
    place.mkdir(mode=0o700)
    (place / "letter").write_text("dear diary")
    prepare_storage(str(place), home)
    assert (place / "letter").read_text() == "dear diary"


@pytest.fixture
def small_disk(needs_root: None, home: Path) -> Iterator[Path]:
    """A real ext4 of 8 MB."""
    image, point = home / "disk.img", home / "small"
    image.write_bytes(b"\0" * 8_000_000)
    point.mkdir(mode=0o700)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=True)
    yield point
    subprocess.run(["umount", str(point)], check=True)


def test_a_disk_without_space_is_refused_and_left_as_it_was(small_disk: Path, home: Path) -> None:
    before = sorted(os.listdir(small_disk))
    with pytest.raises(StorageRefused, match="MB are free"):
        prepare_storage(str(small_disk), home)
    assert sorted(os.listdir(small_disk)) == before


def test_a_read_only_disk_is_refused(small_disk: Path, home: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageRefused, match="read-only"):
        prepare_storage(str(small_disk), home)


def test_a_disk_that_is_not_mounted_is_not_mistaken_for_an_empty_one(
    small_disk: Path, home: Path, monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    monkeypatch.setattr(storage_module, "SMALLEST_FREE_BYTES", 1)
    tested = prepare_storage(str(small_disk), home)
    Storage.objects.update(path=str(tested.path), marker=tested.marker)
    row = Storage.objects.get()
    assert require_storage(row) == small_disk
    subprocess.run(["umount", str(small_disk)], check=True)
    try:
        with pytest.raises(StorageMissing, match="is not there"):
            require_storage(row)
    finally:
        subprocess.run(["mount", "-o", "loop", str(home / "disk.img"), str(small_disk)], check=True)


def test_the_wrong_disk_is_refused(storage: Storage) -> None:
    (Path(storage.path) / MARKER).write_text("0" * 32)
    with pytest.raises(StorageMissing, match="not the place"):
        require_storage(storage)


def test_a_disk_that_lies_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda self: b"something else")
    monkeypatch.setattr(storage_module, "check_place", lambda text, home: Path(text))
    with pytest.raises(StorageRefused, match="did not come back"):
        prepare_storage(str(home / "repositories"), home)
    assert not (home / "repositories").exists()


def test_the_space_is_noted(storage: Storage) -> None:
    measure_storage(storage)
    storage.refresh_from_db()
    assert storage.total_bytes and storage.free_bytes and storage.tested_at
