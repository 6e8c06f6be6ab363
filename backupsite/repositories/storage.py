"""Making a directory a storage: tested by writing, reading back and deleting, then marked.

The marker is how everybody later knows that the disk is mounted. Without it an empty mount point would look
like a new storage, and backups would go to the wrong disk.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from agents.errors import AgentError
from backupsite.repositories.hanging import ask_disk
from backupsite.repositories.models import Storage
from backupsite.repositories.nodes import is_here
from backupsite.repositories.places import Space, StorageRefused, check_place, measure_space

MARKER: Final = ".hotfleet-storage"
SMALLEST_FREE_BYTES: Final = 200_000_000
_TEST_BYTES: Final = 1 << 20


class StorageMissing(AgentError):
    """The directory of a storage is not there, or it is not the one that was set up."""

    code = "storage-missing"
    retryable = True


@dataclass(frozen=True)
class Tested:
    """A directory that passed the test and carries our marker now."""

    path: Path
    marker: str
    space: Space


def prepare_storage(text: str, home: Path) -> Tested:
    """Given what somebody typed, make the directory when it is missing, test it, mark it.

    Raise StorageRefused with the reason; then nothing that was made here is left behind.
    """
    path = check_place(text, home)
    is_new = not path.exists()
    try:
        if is_new:
            path.mkdir(mode=0o700)
        # Again: the first look was at a directory that could not be there yet.
        check_place(str(path), home)
        space = try_directory(path)
        return Tested(path, _write_marker(path), space)
    except OSError as error:
        _remove_empty(path, is_new)
        raise StorageRefused(f"{path} cannot be used: {error.strerror or error}.") from error
    except StorageRefused:
        _remove_empty(path, is_new)
        raise


def try_directory(path: Path) -> Space:
    """Given a directory, write a file to it durably, read it back, delete it; return the space that is left.

    Raise OSError when the system refuses, StorageRefused when the file comes back changed or space is short.
    """
    name, content = path / f".hotfleet-test-{secrets.token_hex(8)}", os.urandom(_TEST_BYTES)
    try:
        _write_durably(name, content)
        if name.read_bytes() != content:
            raise StorageRefused(f"A file written to {path} did not come back the same. The disk is faulty.")
    finally:
        name.unlink(missing_ok=True)
    _sync_directory(path)
    space = measure_space(path)
    if space.free_bytes < SMALLEST_FREE_BYTES:
        raise StorageRefused(f"Only {space.free_bytes // 1_000_000} MB are free in {path}.")
    return space


def require_storage(storage: Storage) -> Path:
    """Given a storage, return its directory after a look at its marker. Raise StorageMissing otherwise."""
    path = local_folder(storage)
    if storage.kind != Storage.DIRECTORY:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path
    if not is_here(storage):
        raise StorageMissing(
            f"{storage.path} lies on the node {storage.node}, not on this machine.",
            remedy="What reads it has to run there; a second copy lies beside it or in an object store.",
        )
    try:
        found = (path / MARKER).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageMissing(
            f"The place for backups {storage.path} is not there.",
            remedy=f"Mount its disk. The file {MARKER} in it shows that it is the right one.",
            detail=str(error),
        ) from error
    if found != storage.marker:
        raise StorageMissing(
            f"{storage.path} is not the place that was set up: its file {MARKER} is another one.",
            remedy="Mount the right disk there.",
        )
    return path


def local_folder(storage: Storage) -> Path:
    """Given a storage, return its directory; of an object store, where this machine keeps what belongs to
    its repositories and is not part of them (journals, files on their way)."""
    if storage.kind == Storage.DIRECTORY:
        return Path(storage.path)
    return Path(settings.HOTFLEET_HOME) / "objects" / storage.marker


def measure_storage(storage: Storage) -> None:
    """Note the space of a storage in its row; an object store is as large as its quota, and holds what its
    repositories take. Raise StorageMissing when it is not there, StorageHangs when it does not answer."""
    if storage.kind != Storage.DIRECTORY:
        used = storage.repositories.aggregate(total=Sum("used_bytes"))["total"] or 0
        quota = storage.quota_bytes
        storage.total_bytes, storage.free_bytes = quota, None if quota is None else max(quota - used, 0)
        storage.save(update_fields=["total_bytes", "free_bytes"])
        return
    is_here(storage)  # reads its node: who asks the disk must not ask the database
    space = ask_disk(storage.path, lambda: measure_space(require_storage(storage)))
    storage.total_bytes, storage.free_bytes = space.total_bytes, space.free_bytes
    storage.tested_at = timezone.now()
    storage.save(update_fields=["total_bytes", "free_bytes", "tested_at"])


def forget_marker(tested: Tested) -> None:
    """Take the marker away again, because the storage was not recorded after all."""
    (tested.path / MARKER).unlink(missing_ok=True)


def _write_marker(path: Path) -> str:
    marker = secrets.token_hex(16)
    try:
        _write_durably(path / MARKER, f"{marker}\n".encode())
    except FileExistsError as error:
        raise StorageRefused(
            f"{path} belongs to another Hotfleet console (or to an earlier one). Choose another directory; "
            f"if that console is gone for good, delete {path / MARKER} first."
        ) from error
    _sync_directory(path)
    return marker


def _write_durably(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_empty(path: Path, is_new: bool) -> None:
    if is_new and path.is_dir() and not any(path.iterdir()):
        path.rmdir()
