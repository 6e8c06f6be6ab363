"""A source that did not change since its last good restore point needs no new copy, where that can be proven.

The proof is of the file system (see `agents.snapshots`); it is tied to what the policy asked, so that a
changed pattern is a changed source. It is of files: what an application would write only when it is held or
stopped is not in them, so a source that is held has no proof.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.events import Consistency
from agents.facts import DeviceFacts
from agents.plan import PlannedSource
from agents.repositories import RepositoryPlace
from agents.snapshots import providers
from agents.snapshots.contract import Owes, Taken


@dataclass(frozen=True, slots=True)
class KnownPoint:
    """The last good restore point of a source, which was read back when it was made. `proof` is what its run
    returned with it."""

    source: str
    proof: str
    restic_id: str
    method: str
    consistency: Consistency
    size_bytes: int
    file_count: int


def find_unchanged(
    runner: Owes,
    facts: DeviceFacts,
    sources: Sequence[PlannedSource],
    known: Sequence[KnownPoint],
    place: RepositoryPlace,
) -> Mapping[str, KnownPoint]:
    """Return the known restore points that still are what their source holds, by its key.

    Runs a command for each part of a source that has a proof. A point that is not in the repository any more
    proves nothing, nor do files of an application that is held for its backup."""
    by_key = {point.source: point for point in known if point.proof}
    found: dict[str, KnownPoint] = {}
    for source in sources:
        point = by_key.get(source.key)
        if point is None or source.method != point.method or not _can_be_proven(source):
            continue
        if not place.holds(point.restic_id):
            continue
        proofs: dict[str, str] = {}
        for part in source.parts:
            proof = providers()[part.method].prove(runner, part.path, facts)
            if proof is None:
                break
            proofs[part.path] = proof.text
        if fingerprint(source, proofs) == point.proof:
            found[source.key] = point
    return _without_torn_groups(found, sources)


def _can_be_proven(source: PlannedSource) -> bool:
    quiesce = source.quiesce
    is_held = quiesce is not None and not quiesce.is_watch and (quiesce.holds or not quiesce.waits)
    return bool(source.parts) and not source.streams and not is_held


def _without_torn_groups(
    found: Mapping[str, KnownPoint], sources: Sequence[PlannedSource]
) -> Mapping[str, KnownPoint]:
    """The sources of a group are of one moment: all of them are as they were, or all are taken anew."""
    torn = {source.request.group for source in sources if source.request.group and source.key not in found}
    groups = {source.key: source.request.group for source in sources}
    return {key: point for key, point in found.items() if groups[key] not in torn}


def proof_of(source: PlannedSource, taken: Sequence[Taken]) -> str:
    """Given a source and what was taken of it, return what a later run compares, "" when nothing proves
    it."""
    proofs = {proof.path: proof.text for each in taken for proof in each.proofs}
    return fingerprint(source, proofs)


def fingerprint(source: PlannedSource, proofs: Mapping[str, str]) -> str:
    """Given the proof of each part, return the digest of it and of what the policy asks; "" when a part has
    none."""
    if not _can_be_proven(source) or any(part.path not in proofs for part in source.parts):
        return ""
    parts = [(part.path, part.method, proofs[part.path]) for part in source.parts]
    told = json.dumps([source.paths, sorted(source.excludes), source.method, parts])
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()
