"""Repositories and the recovery password: who makes them, and who may open them.

The web process makes rows and sealed secrets. Only workers open them; restic itself makes the directory at a
device's first backup.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from agents.commands import Secret
from agents.errors import AgentError
from agents.gateway.target import FOLDERS
from agents.objects import ObjectLocation
from backupsite import vault
from backupsite.fleet.models import Device
from backupsite.repositories.default_storage import find_default
from backupsite.repositories.models import Node, RecoveryPassword, Repository, Storage
from backupsite.repositories.nodes import find_storage_for
from backupsite.repositories.objects import locate
from backupsite.repositories.storage import local_folder, require_storage


class SetupIncomplete(AgentError):
    """A step of the set-up is missing, without which no backup may be made."""

    code = "setup-incomplete"


@dataclass(frozen=True)
class OpenRepository:
    """What a worker needs to work on a repository."""

    path: Path
    password: Secret
    objects: ObjectLocation | None = None

    @property
    def location(self) -> Path | ObjectLocation:
        """What opens it for restic, and makes it."""
        return self.objects or self.path

    def is_there(self) -> bool:
        """Return whether it was made. Raise StoreFailed when that cannot be known."""
        return self.objects.is_there() if self.objects is not None else (self.path / "config").exists()


def first_node() -> Node:
    """Return the console's own machine as a node; made at its first use."""
    return Node.objects.get_or_create(slug="console", defaults={"name": "This machine"})[0]


def ensure_repository(device: Device) -> Repository:
    """Given a device, return its repository; make the row when there is none. May be called twice at once.

    Raise SetupIncomplete when nobody chose a place for backups.
    """
    with transaction.atomic():
        # The device's row is the lock: two workers never make two passwords.
        Device.objects.select_for_update().get(pk=device.pk)
        found = Repository.objects.filter(device=device).first()
        return found if found is not None else _create_repository(device)


def _create_repository(device: Device) -> Repository:
    storage = find_storage_for(device)
    if storage is None and find_default() is not None:
        raise SetupIncomplete(
            "The console's own machine has no place for its backups: those there are lie on other nodes.",
            remedy="Add a directory of this machine, or an object store.",
        )
    if storage is None:
        raise SetupIncomplete(
            "There is no place for backups yet.", remedy="Open the set-up and choose a directory."
        )
    repository = Repository(device=device, storage=storage)
    repository.sealed_password = vault.seal(_owner(repository), Secret(secrets.token_urlsafe(48)))
    repository.save(force_insert=True)
    return repository


def ensure_copy(repository: Repository, storage: Storage) -> Repository:
    """Given a repository, return its second copy; make the row, on this storage, when there is none. May be
    called twice at once."""
    with transaction.atomic():
        Repository.objects.select_for_update().get(pk=repository.pk)
        found = Repository.objects.filter(copy_of=repository).select_related("storage").first()
        if found is None:
            found = Repository(copy_of=repository, storage=storage)
            found.sealed_password = vault.seal(_owner(found), Secret(secrets.token_urlsafe(48)))
            found.save(force_insert=True)
        return found


def repository_path(repository: Repository) -> Path:
    """Given a repository, return its directory, without a look at the disk."""
    return local_folder(repository.storage) / str(repository.uuid)


def open_repository(repository: Repository) -> OpenRepository:
    """Given a repository, return its path and password. For workers only: the web process has no key.

    Raise StorageMissing when its disk is not mounted, VaultError when the password does not open.
    """
    path = require_storage(repository.storage) / str(repository.uuid)
    password = vault.unseal(_owner(repository), repository.sealed_password)
    return OpenRepository(path, password, locate(repository))


def recovery_password() -> Secret:
    """Return the second key of every repository. For workers only.

    Raise SetupIncomplete until a person holds the kit and has confirmed it: a backup that nobody could
    restore without this console is not made.
    """
    row = RecoveryPassword.objects.filter(kit_confirmed_at__isnull=False).first()
    if row is None:
        raise SetupIncomplete(
            "Nobody has confirmed the recovery kit yet.",
            remedy="Open the set-up, download the kit and type the last characters of its password.",
        )
    return vault.unseal(recovery_owner(row), row.sealed_password)


def recovery_owner(row: RecoveryPassword) -> str:
    """Given the row, return the owner under which its password is sealed."""
    return f"repositories.recoverypassword:{row.fingerprint}:password"


def measure_repository(repository: Repository) -> None:
    """Note how many bytes a repository takes on its disk. Walks its directory; call it from a worker.

    Raise StorageMissing when its disk is not mounted, OSError when a directory cannot be read.
    """
    path = require_storage(repository.storage) / str(repository.uuid)
    objects = locate(repository)
    repository.used_bytes = _sum_blocks(path) if objects is None else _sum_objects(objects)
    repository.measured_at = timezone.now()
    repository.save(update_fields=["used_bytes", "measured_at"])


def _sum_objects(objects: ObjectLocation) -> int:
    with objects.open_store() as store:
        return sum(size for kind in FOLDERS for _, size in store.list(kind))


def _sum_blocks(path: Path) -> int:
    total = 0
    for directory, _, names in os.walk(path, onerror=_raise):
        for name in names:
            try:
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
            except FileNotFoundError:  # a lock of a run that just ended
                continue
    return total


def _raise(error: OSError) -> None:
    raise error


def _owner(repository: Repository) -> str:
    return f"repositories.repository:{repository.uuid}:password"
