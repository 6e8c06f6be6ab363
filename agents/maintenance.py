"""Maintenance of one repository, without its device: a check, and the removal of what is old.

Only while no backup works on the repository: whoever calls sees to that, not restic's locks. Both may be
stopped or killed anywhere and begun again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agents.errors import RepositoryBroken
from agents.events import Level, Phase, Said, Tell
from agents.flow import Control, phase
from agents.gateway.store import Store, StoreFailed
from agents.gateway.target import Kind, Target
from agents.maintaining.hurt import find_hurt, find_lost
from agents.maintaining.reading import ReadingPass, damaged_of
from agents.maintaining.record import Record
from agents.maintaining.removing import forget, give_back
from agents.maintaining.structure import check_structure, read_identity
from agents.maintaining.words import CheckOutcome, Expected, Finding, ReadingReport, Stray, Upkeeper
from agents.repositories import RepositoryPlace, open_place
from agents.restic.binary import Binary
from agents.restic.repository import Repository, open_repository

RECORD = "read-record"


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What a check does: reads in turns, or `everything`; and looks at the structure, unless it was told not
    to. `rate_bytes_s`: no faster than that; zero is as fast as it goes."""

    place: RepositoryPlace
    binary: Binary
    expected: Expected
    everything: bool = False
    checks_structure: bool = True
    rate_bytes_s: int = 0


def check(
    request: CheckRequest, *, tell: Tell, control: Upkeeper, now: Callable[[], float] = time.time
) -> CheckOutcome:
    """Read what is due of a repository, check how it hangs together, and find out which snapshots are hurt.

    Changes nothing in it. Raise StoreFailed when it cannot be reached, ResticFailed when something cannot be
    known, and what the control raises: what was read until then need not be read again."""
    request.place.journals.mkdir(mode=0o700, exist_ok=True)
    record = Record(request.place.journals / RECORD)
    with request.place.open_store() as store:
        with phase(tell, Phase.CHECK):
            reader = ReadingPass(store, record, tell=tell, control=control, rate_bytes_s=request.rate_bytes_s)
            reading = reader.run(now, everything=request.everything)
        present = {name for name, _ in store.list(Kind.SNAPSHOTS)}
    with phase(tell, Phase.VERIFY):
        return _look(request, reader.findings, reading, present, record, tell, control)


def _look(
    request: CheckRequest,
    findings: list[Finding],
    reading: ReadingReport,
    present: set[str],
    record: Record,
    tell: Tell,
    control: Upkeeper,
) -> CheckOutcome:
    does_structure = request.checks_structure and not control.must_give_way()
    ids = request.expected.snapshot_ids
    lost = find_lost(ids, present, damaged_of(findings, Kind.SNAPSHOTS))
    strays: list[Stray] = []
    try:
        with open_repository(request.place.location, request.place.password, request.binary) as engine:
            if does_structure:
                findings = _join(findings, _check_structure(request, engine, tell, control))
            hurt = find_hurt(engine, ids - lost.keys(), findings, control) if findings else {}
            if not damaged_of(findings, Kind.CONFIG):
                strays = _find_strays(engine, ids | request.expected.going, present, record)
    except StoreFailed:
        raise
    except RepositoryBroken as error:
        findings = [*findings, Finding(None, error.message)]
        tell(Said(f"{error.message}: {error.detail}", Level.ERROR))
        hurt = find_hurt(None, ids - lost.keys(), findings, control)
    findings += [Finding(Target(Kind.SNAPSHOTS, each), "it is missing") for each in ids - present]
    return CheckOutcome(tuple(findings), hurt | lost, tuple(strays), reading, does_structure)


def _check_structure(
    request: CheckRequest, engine: Repository, tell: Tell, control: Upkeeper
) -> list[Finding]:
    found = read_identity(engine, request.expected.restic_id) or check_structure(engine, control)
    for each in found[:100]:
        tell(Said(f"{each}.", Level.ERROR))
    return found


def _join(read: list[Finding], structure: list[Finding]) -> list[Finding]:
    """What both found is said once, by the one who read it."""
    known = {each.target for each in read if each.target is not None}
    return [*read, *(each for each in structure if each.target not in known)]


def _find_strays(
    engine: Repository, known: Collection[str], present: set[str], record: Record
) -> list[Stray]:
    """Return the snapshots that no catalogue names. One whose record is damaged is not among them."""
    if not present - set(known):
        return []
    return [
        Stray(info.snapshot_id, _first_seen(record, info.snapshot_id), info.hostname, info.tags, info.paths)
        for info in engine.list_snapshots()
        if info.snapshot_id not in known and info.snapshot_id in present
    ]


def _first_seen(record: Record, name: str) -> datetime:
    return datetime.fromtimestamp(record.of(Target(Kind.SNAPSHOTS, name)).first_s, UTC)


@dataclass(frozen=True, slots=True)
class PruneRequest:
    """What a removal does: forgets exactly these snapshots, and gives back what no other one needs."""

    place: RepositoryPlace
    binary: Binary
    snapshot_ids: Sequence[str]
    moves_data: bool = True


def prune(
    request: PruneRequest,
    *,
    tell: Tell,
    control: Control,
    forgotten: Callable[[], object] = lambda: None,
) -> int:
    """Remove snapshots by their ids, and the data that nobody needs without them; return how many bytes were
    given back. `forgotten` is told once the snapshots are gone, whatever comes after that.

    Raise RepositoryLocked when another program works on the repository, RepositoryFull when it has no room
    to give some back."""
    with phase(tell, Phase.CHECK):
        before = measure(request.place)
    with open_place(request.place, request.binary, tell) as engine:
        with phase(tell, Phase.CLEAN_UP):
            engine.unlock()
            forget(engine, request.snapshot_ids, tell=tell, control=control)
            forgotten()
            give_back(engine, moves_data=request.moves_data, tell=tell, control=control)
        with phase(tell, Phase.VERIFY):
            left = {info.snapshot_id for info in engine.list_snapshots()}
            if left & set(request.snapshot_ids):
                raise RepositoryBroken("snapshots that were removed are still in the repository")
    return max(before - measure(request.place), 0)


def measure(place: RepositoryPlace) -> int:
    """Return the bytes of all files of a repository."""
    with place.open_store() as store:
        return _sum(store)


def _sum(store: Store) -> int:
    return sum(size for kind in (Kind.DATA, Kind.INDEX, Kind.SNAPSHOTS) for _, size in store.list(kind))
