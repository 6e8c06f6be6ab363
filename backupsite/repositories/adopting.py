"""Directories in a storage that hold somebody's restic repository: which ones, and making one a device's."""

from __future__ import annotations

import os
from pathlib import Path

from django.db import transaction

from agents.commands import Secret
from agents.errors import AgentError
from agents.restic import adopting
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.repositories.console_backup import FOLDER
from backupsite.repositories.making import ensure_repository, open_repository, recovery_password
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.storage import MARKER, require_storage


class AdoptRefused(AgentError):
    """This directory cannot become the repository of a device. Nothing was changed."""

    code = "adopt-refused"


def list_candidates(storage: Storage) -> list[str]:
    """Return the names of the directories in a storage that hold a repository of nobody here.

    Raise StorageMissing, OSError."""
    if storage.kind != Storage.DIRECTORY:
        return []
    path = require_storage(storage)
    ours = {str(uuid) for uuid in Repository.objects.filter(storage=storage).values_list("uuid", flat=True)}
    names = sorted(entry.name for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False))
    return [name for name in names if name not in ours | {FOLDER} and adopting.is_repository(path / name)]


def check_candidate(storage: Storage, name: str, password: Secret) -> None:
    """Raise AdoptRefused when a directory cannot be adopted, or the password does not open it;
    RepositoryLocked when somebody works on it. Takes as long as the key derivation."""
    if name not in list_candidates(storage):
        raise AdoptRefused(f"There is no restic repository called {name} in {storage.path}.")
    path = Path(storage.path) / name
    if (path / MARKER).exists() or adopting.is_of_a_console(path):
        raise AdoptRefused(
            f"{name} belongs to another Hotfleet console, or to an earlier one.",
            remedy="Bring that console back with its recovery kit (script/server --recover).",
        )
    if not adopting.opens(path, password):
        raise AdoptRefused("This password does not open the repository.")
    adopting.require_idle(path)


@transaction.atomic
def reserve(device: Device, storage: Storage) -> Repository:
    """Make the row under which a device will have the repository. Raise AdoptRefused when it has one."""
    repository = ensure_repository(device)
    # Nobody may have made it: then it is but a row with a password.
    if repository.is_made or (Path(repository.storage.path) / str(repository.uuid) / "config").exists():
        raise AdoptRefused(
            f"{device.name} has a repository already.",
            remedy="Add the device a second time under another name, and let that one have the old backups.",
        )
    Repository.objects.filter(pk=repository.pk).update(storage=storage)
    repository.storage = storage
    return repository


def take_over(repository: Repository, name: str, theirs: Secret) -> Path:
    """Add our keys to a directory and give it the name of a device's repository; return where it lies now.

    For workers. May be called again after it was cut off. Raise AgentError."""
    opened = open_repository(repository)
    source = Path(repository.storage.path) / name
    if (opened.path / "config").exists() and adopting.is_repository(source):
        raise AdoptRefused("The device got a repository of its own meanwhile: a backup was faster.")
    if not (opened.path / "config").exists():
        if not adopting.is_repository(source):
            raise AdoptRefused(f"{source} is not there any more.")
        adopting.require_idle(source)
        adopting.add_keys(source, theirs, opened.password, recovery_password(), console_restic())
        os.rename(source, opened.path)
        _sync(opened.path.parent)
    return opened.path


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
