"""Repairing a repository: what is damaged goes, what is whole of it stays, and the rest comes back from the
second copy.

1. An index is only derived from the packs: it is written anew, which loses nothing.
2. restic takes the whole pieces out of damaged packs and removes these packs; a copy of each is kept aside.
   What is lost is then known to be missing: a backup of what the device still has stores it again.
3. A piece is named by the hash of its plain content, in every repository. So a snapshot of the second copy is
   copied back as if nothing were here: only the pieces that are missing are written, and every snapshot that
   is here finds them again. The snapshot that this makes is thrown away.
4. A snapshot whose own record is lost is copied back for good, under a new name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agents.commands import Command
from agents.events import Said, Tell
from agents.flow import Control
from agents.gateway.store import OpenStore
from agents.gateway.target import Kind, Target
from agents.maintaining.copying import copy_snapshots
from agents.maintaining.reading import damaged_of
from agents.maintaining.words import Finding
from agents.repositories import RepositoryPlace
from agents.restic import arguments
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.outcomes import judge
from agents.restic.repository import Repository, open_repository

_TIMEOUT_S = 24 * 3600.0
_BATCH = 20
ASIDE = "damaged"


@dataclass(frozen=True, slots=True)
class Copied:
    """Where the second copy is, and its snapshots by those here."""

    place: RepositoryPlace
    snapshots: dict[str, str]


def mend(
    place: RepositoryPlace, binary: Binary, findings: Sequence[Finding], *, tell: Tell, control: Control
) -> None:
    """Take what is damaged out of a repository and keep what is whole. Changes no snapshot.

    Raise an AgentError when restic cannot. May be begun again."""
    damaged = sorted(damaged_of(findings, Kind.DATA))
    with place.open_store() as store:
        there = [name for name in damaged if store.size(Target(Kind.DATA, name)) is not None]
        _set_records_aside(place, store, damaged_of(findings, Kind.SNAPSHOTS), tell)
    with open_repository(place.location, place.password, binary) as repository:
        repository.unlock()
        _run(repository, arguments.repair_index, place, control)
        tell(Said("The index was written anew."))
        for start in range(0, len(there), _BATCH):
            batch = there[start : start + _BATCH]
            _run(repository, partial(arguments.repair_packs, names=batch), place, control)
            for name in batch:
                tell(Said(f"data/{name}: what is whole of it was kept, the rest is gone."))


def _set_records_aside(place: RepositoryPlace, store: OpenStore, names: Collection[str], tell: Tell) -> None:
    """Move damaged records of snapshots out of the repository: restic stops at them."""
    folder = _folder(place)
    for name in names:
        target = Target(Kind.SNAPSHOTS, name)
        if store.size(target) is not None:
            store.move_out(target, folder)
            store.settle(target)
            tell(Said(f"snapshots/{name}: the damaged record was moved to {folder}."))


def _folder(place: RepositoryPlace) -> Path:
    folder = place.journals / ASIDE
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _run(
    repository: Repository, make: Callable[[Restic], Command], place: RepositoryPlace, control: Control
) -> None:
    result = repository.call(
        make,
        writes=True,
        timeout_s=_TIMEOUT_S,
        watch=lambda said: control.raise_if_stopped(),
        folder=_folder(place),
    )
    judge(result.status, result.tail)


def refill(
    place: RepositoryPlace,
    binary: Binary,
    copied: Copied,
    hurt: Collection[str],
    *,
    tell: Tell,
    control: Control,
) -> dict[str, str]:
    """Bring back from the second copy what these snapshots need, and their records where these are lost.
    Return the new names of the latter by the old ones.

    Raise an AgentError when the second copy cannot be read either."""
    wanted = [each for each in sorted(hurt) if each in copied.snapshots]
    if not wanted:
        return {}
    with open_repository(copied.place.location, copied.place.password, binary) as copy:
        ids = list(dict.fromkeys(copied.snapshots[each] for each in wanted))
        with open_repository(place.location, place.password, binary, without_snapshots=True) as here:
            here.unlock()
            for _ in copy_snapshots(copy, here, ids, tell=tell, control=control):
                control.raise_if_stopped()
        tell(Said(f"What the hurt snapshots need, {len(wanted)} in all, came back from the other copy."))
        with open_repository(place.location, place.password, binary) as here:
            known = {info.snapshot_id for info in here.list_snapshots()}
            lost = [each for each in wanted if each not in known]
            if not lost:
                return {}
            back: dict[str, str] = {}
            for done in copy_snapshots(
                copy, here, [copied.snapshots[each] for each in lost], tell=tell, control=control
            ):
                back |= done
            return {each: back[copied.snapshots[each]] for each in lost}
