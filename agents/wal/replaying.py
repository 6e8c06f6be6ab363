"""The log that leads from a base to a moment, all of it in the repository."""

from __future__ import annotations

from dataclasses import dataclass

from agents.applications.comebacks import Log
from agents.applications.stored import StoredPart
from agents.errors import PlanRefused
from agents.restic.repository import Repository
from agents.wal.batches import store_tail
from agents.wal.coverage import Chain, log_between
from agents.wal.spool import read_spool
from agents.wal.words import Batch, Piece, Replay


@dataclass(frozen=True, slots=True)
class Found:
    """`tail` is what was stored for it, None when the batches had all of it."""

    log: Log
    tail: Batch | None


def find_log(wanted: Replay, repository: Repository) -> Found:
    """Given what is wanted, return the log in the repository, after storing what is in the spool only. Raise
    PlanRefused when it does not lead to the moment."""
    batches = {batch.piece: batch for batch in wanted.log.batches}
    spool = wanted.log.spool
    spooled = read_spool(spool) if spool is not None else ()
    chain = _chain(wanted, [*batches, *spooled])
    tail = None
    if spool is not None and any(piece not in batches and piece.start < piece.end for piece in chain):
        tail = store_tail(repository, spool, chain[0].stretch, host=wanted.log.host)
        batches |= {} if tail is None else {tail.piece: tail}
        # what holds no log may hold the tick that says that nothing came since
        chain = _chain(wanted, [*batches, *(piece for piece in spooled if piece.start == piece.end)])
    parts = tuple(_part(batches[piece]) for piece in chain if piece in batches)
    return Found(Log(parts, chain[0].segment_bytes, wanted.moment, _whole(chain)), tail)


def _chain(wanted: Replay, pieces: list[Piece]) -> Chain:
    chain = log_between(wanted.base, wanted.moment, pieces)
    if not chain:
        raise PlanRefused(
            "the log that was kept does not lead from this restore point to that moment",
            remedy="Pick a moment inside of a window, and the restore point that it names.",
        )
    return chain


def _part(batch: Batch) -> StoredPart:
    return StoredPart(batch.restic_id, "", (batch.folder,), batch.bytes)


def _whole(chain: Chain) -> int:
    """Return the newest position at which no record is cut, as far as one is known."""
    ticks = [tick for piece in chain for tick in (piece.since, piece.until) if tick is not None]
    return max((tick.whole for tick in ticks), default=0)
