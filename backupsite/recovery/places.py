"""Repositories as the flows see them."""

from __future__ import annotations

from pathlib import Path

from agents.events import Said, Tell
from agents.repositories import RepositoryPlace
from agents.restic.repository import create
from agents.restic.repository import open_repository as open_engine
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.repositories.making import (
    OpenRepository,
    ensure_repository,
    open_repository,
    recovery_password,
)
from backupsite.repositories.models import Repository


def place_of(repository: Repository) -> RepositoryPlace:
    """Given a repository, return where it lies and what opens it. For workers only."""
    return _place(open_repository(repository))


def make_place(device: Device, tell: Tell) -> tuple[Repository, RepositoryPlace]:
    """Given a device, return its repository; the first time, make its directory with both keys.

    Raise SetupIncomplete when the set-up is not finished, an AgentError when restic cannot make it."""
    repository = ensure_repository(device)
    opened = open_repository(repository)
    if not repository.is_made and not opened.is_there():
        tell(Said("This is the first backup of the device: its repository is made."))
        create(opened.location, opened.password, recovery_password(), console_restic())
    if not repository.is_made:
        # The name of the directory is ours; restic's own id is only kept to recognise the repository.
        Repository.objects.filter(pk=repository.pk).update(restic_id=read_id(opened))
    return repository, _place(opened)


def read_id(opened: OpenRepository) -> str:
    """Return restic's own name of a repository. Raise an AgentError when it does not open."""
    with open_engine(opened.location, opened.password, console_restic()) as engine:
        return engine.read_id()


def _place(opened: OpenRepository) -> RepositoryPlace:
    journals = Path(f"{opened.path}.journals")
    return RepositoryPlace(opened.path, journals, opened.password, opened.path.parent, opened.objects)
