"""Removing: restic forgets snapshots by their ids, then what nobody needs any more is given back.

Killed anywhere, nothing is lost that somebody needs: restic writes what it keeps, then the index, and removes
last. What was half done is done by the next run; the lock of a dead restic is removed when it begins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from agents.commands import Result, to_text
from agents.errors import RepositoryFull, ResticFailed
from agents.events import Level, Said, Tell
from agents.flow import Control
from agents.restic import arguments
from agents.restic.outcomes import judge
from agents.restic.repository import Repository

_BATCH = 200
_TIMEOUT_S = 24 * 3600.0
# What is used only in part is written anew up to this much at a time, so that a run ends.
MOST_REPACKED_BYTES = 50 * 1024**3
_NO_SPACE = re.compile(rb"no space left|disk quota exceeded", re.IGNORECASE)
_WORTH_TELLING = re.compile(
    r"(to repack|this removes|to delete|total prune|remaining|unused size after prune):"
)


def forget(repository: Repository, snapshot_ids: Sequence[str], *, tell: Tell, control: Control) -> None:
    """Remove these snapshots, and no other ones; one that is gone already is no error. Their data stays until
    `give_back`. Raise RepositoryLocked when another program works on the repository."""
    there = {info.snapshot_id for info in repository.list_snapshots()}
    wanted = [each for each in snapshot_ids if each in there]
    for start in range(0, len(wanted), _BATCH):
        control.raise_if_stopped()
        batch = wanted[start : start + _BATCH]
        with _told_of_space():
            repository.forget(batch)
        for each in batch:
            tell(Said(f"The snapshot {each} was removed from the repository."))


def give_back(repository: Repository, *, moves_data: bool, tell: Tell, control: Control) -> None:
    """Remove the data that no snapshot needs. Without `moves_data` only packs that nobody needs at all go:
    nothing is read or written anew, which object stores charge for.

    Raise RepositoryFull when even that has no room, RepositoryLocked when another program works there."""
    result = _prune(repository, MOST_REPACKED_BYTES if moves_data else 0, tell, control)
    if result.status != 0 and moves_data and _NO_SPACE.search(result.stderr):
        tell(Said("There is no room to write packs anew: only those that nobody needs go.", Level.WARNING))
        result = _prune(repository, 0, tell, control)
    with _told_of_space():
        judge(result.status, result.tail)


@contextmanager
def _told_of_space() -> Iterator[None]:
    """Say what it is when restic had no room even for its lock or its index."""
    try:
        yield
    except ResticFailed as error:
        if not _NO_SPACE.search(error.detail.encode()):
            raise
        raise RepositoryFull(
            "There is no space left where the repository is kept, and giving some back needs a little.",
            remedy="Make some room there: some megabytes for restic's lock and the new index.",
            detail=error.detail,
        ) from error


def _prune(repository: Repository, most_repacked: int, tell: Tell, control: Control) -> Result:
    def watch(said: bytes) -> None:
        control.raise_if_stopped()
        for line in to_text(said).splitlines():
            if _WORTH_TELLING.match(line):
                tell(Said(f"restic: {' '.join(line.split())}"))

    return repository.call(
        lambda restic: arguments.prune(restic, most_repacked_bytes=most_repacked),
        writes=True,
        timeout_s=_TIMEOUT_S,
        watch=watch,
    )
