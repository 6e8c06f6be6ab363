"""Log that leaves the spool for the repository: a restic snapshot of segments, under PostgreSQL's own names,
so that it is of use without Hotfleet too."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from agents.errors import RepositoryBroken
from agents.repositories import RepositoryPlace
from agents.restic.binary import Binary
from agents.restic.repository import Repository, open_repository
from agents.wal.spool import Stretch, current_stretch, locked, stretches
from agents.wal.words import Batch, Piece

# In one batch: one that was cut off is stored again, and what is in it is read again.
_MOST_SEGMENTS = 64


def store_batch(
    place: RepositoryPlace,
    binary: Binary,
    spool: Path,
    *,
    host: str,
    keep: Callable[[Batch], object] = lambda batch: None,
) -> Batch | None:
    """Store full segments of the spool as one snapshot, prove that it is there, and remove them from the
    spool. Return None when there is nothing to store. Call it again until then. `keep` is told of the batch
    before the spool lets go of it: who keeps the catalogue writes it down there.

    Of a stretch that was ended the last segment is stored as far as it came. Killed anywhere, it leaves the
    spool or the repository with them, or both; then the next call stores them again. Raise SpoolBusy when
    another one is at work, and an AgentError when restic fails."""
    with locked(spool, "batch"):
        current = current_stretch(spool)
        for stretch in stretches(spool):
            is_ended = current is not None and stretch.name != current.name
            piece = _first(stretch, stretch.piece(full_only=not is_ended))
            if piece is None or piece.start == piece.end:
                continue
            with open_repository(place.location, place.password, binary) as repository:
                batch = _store(repository, stretch, piece, host)
            keep(batch)
            _leave(stretch, piece, is_ended=is_ended)
            return batch
    return None


def store_tail(repository: Repository, spool: Path, name: str, *, host: str) -> Batch | None:
    """Store all that the spool has of a stretch, its last segment as far as it came, and leave it there.
    Return None when there is nothing."""
    with locked(spool, "batch", waits=True):
        for stretch in stretches(spool):
            piece = stretch.piece()
            if stretch.name == name and piece is not None and piece.start < piece.end:
                return _store(repository, stretch, piece, host)
    return None


def _first(stretch: Stretch, piece: Piece | None) -> Piece | None:
    """Of a long piece return the first part."""
    limit = _MOST_SEGMENTS * stretch.segment_bytes
    if piece is None or piece.end - piece.start <= limit:
        return piece
    return stretch.piece(full_only=True, most=_MOST_SEGMENTS)


def _store(repository: Repository, stretch: Stretch, piece: Piece, host: str) -> Batch:
    files = [file for start, file in stretch.segments() if piece.start <= start < piece.end]
    restic_id = repository.store([str(file) for file in files], host=host, tags=[f"wal={stretch.name}"])
    folder = str(stretch.path)
    _prove(repository, restic_id, folder, files, piece)
    return Batch(restic_id, piece, folder, piece.end - piece.start, datetime.now(UTC))


def _prove(repository: Repository, restic_id: str, folder: str, files: Sequence[Path], piece: Piece) -> None:
    """Raise RepositoryBroken when the snapshot does not hold every segment, as long as it is."""
    repository.read_back(restic_id)
    sizes = {node.name: node.size for node in repository.list_folder(restic_id, folder)}
    size = piece.segment_bytes
    for number, file in enumerate(files):
        wanted = min(size, piece.end - piece.start - number * size)
        if sizes.get(file.name, 0) < wanted:
            raise RepositoryBroken(f"the repository does not hold {file.name} whole after it was stored")


def _leave(stretch: Stretch, piece: Piece, *, is_ended: bool) -> None:
    last = stretch.segments()[-1][0]
    if is_ended and piece.end > last:
        shutil.rmtree(stretch.path)
    else:
        stretch.leave(piece.end)
