"""Which snapshots need what is damaged. Rather one too many: a pack is taken for damaged as a whole."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from functools import partial

from agents.gateway.target import Kind
from agents.maintaining.reading import damaged_of
from agents.maintaining.words import Finding, Upkeeper
from agents.restic import arguments
from agents.restic.fields import Fields
from agents.restic.outcomes import judge
from agents.restic.repository import Repository

RECORD_MISSING = "restic's record of it is missing"
RECORD_DAMAGED = "restic's record of it is damaged"
FOLDERS = "folders of it cannot be read"
DATA = "data of its files is damaged"
UNREADABLE = "the repository cannot be read until it is repaired"
_SNAPSHOT = re.compile(rb'"snapshot":"([0-9a-f]{64})"')
_LONGEST_MATCH = 128
_BATCH = 500
_TREE_TIMEOUT_S = 3600.0


def find_lost(
    snapshot_ids: Collection[str], present: Collection[str], damaged: Collection[str]
) -> dict[str, str]:
    """Given the snapshots that should be there, the files that are, and those among them that are damaged,
    return what is wrong with which. Pure."""
    lost = {each: RECORD_MISSING for each in snapshot_ids if each not in present}
    return lost | {each: RECORD_DAMAGED for each in snapshot_ids if each in damaged}


def find_hurt(
    repository: Repository | None, snapshot_ids: Collection[str], findings: list[Finding], control: Upkeeper
) -> dict[str, str]:
    """Given snapshots whose records are whole, return those that need what is damaged, and why.

    Without a repository nothing can be read. Raise ResticFailed when it cannot be known."""
    is_open = repository is not None and not damaged_of(findings, Kind.INDEX)
    if repository is None or not is_open or damaged_of(findings, Kind.CONFIG):
        return dict.fromkeys(snapshot_ids, UNREADABLE)
    packs = damaged_of(findings, Kind.DATA)
    if not packs and all(each.target is not None for each in findings):
        return {}  # keys, and records of snapshots
    hurt = {each: FOLDERS for each in snapshot_ids if not _is_readable(repository, each, control)}
    with_data = find_users(repository, find_pieces(repository, packs, control), control)
    return hurt | {each: DATA for each in snapshot_ids if each in with_data and each not in hurt}


def _is_readable(repository: Repository, snapshot_id: str, control: Upkeeper) -> bool:
    """Return whether every folder of a snapshot can be read, and every piece of its files has a place."""
    control.raise_if_stopped()
    result = repository.call(
        lambda restic: arguments.measure(restic, snapshot_id),
        timeout_s=_TREE_TIMEOUT_S,
        watch=lambda said: control.raise_if_stopped(),
    )
    if result.status not in (0, 1, 2):  # 2 is what restic crashes with
        judge(result.status, result.tail)
    return result.status == 0


def find_pieces(repository: Repository, packs: Collection[str], control: Upkeeper) -> list[str]:
    """Given packs, return the pieces of files that lie in them, by what the indexes say: the packs
    themselves cannot be asked."""
    if not packs:
        return []
    names = repository.call(arguments.list_indexes)
    judge(names.status, names.tail)
    found: set[str] = set()
    for name in names.text.split():
        control.raise_if_stopped()
        index = repository.call(partial(arguments.cat_index, name=name))
        judge(index.status, index.tail)
        for each in Fields.parse(index.stdout, "index").list("packs"):
            if each.text("id") in packs:
                found |= {blob.text("id") for blob in each.list("blobs") if blob.text("type") == "data"}
    return sorted(found)


def find_users(repository: Repository, pieces: list[str], control: Upkeeper) -> set[str]:
    """Given pieces of files, return the snapshots that need one. Reads all folders, in flat memory."""
    users: set[str] = set()
    for start in range(0, len(pieces), _BATCH):
        batch = pieces[start : start + _BATCH]
        with closing(repository.stream(partial(arguments.find_pieces, piece_ids=batch))) as said:
            users |= set(_read_snapshots(said, control))
    return users


def _read_snapshots(said: Iterable[bytes], control: Upkeeper) -> Iterator[str]:
    rest = b""
    for piece in said:
        control.raise_if_stopped()
        rest += piece
        yield from (match[1].decode() for match in _SNAPSHOT.finditer(rest))
        rest = rest[-_LONGEST_MATCH:]
