"""What of a log is where: batches as rows and as words of the flows, and the spool of a stream."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from agents.errors import ProtocolBroken
from agents.wal.words import Batch, Piece, Tick, WalLog
from backupsite.recovery.wal_models import WalBatch, WalStream
from backupsite.repositories.making import ensure_repository, repository_path
from backupsite.repositories.models import Repository
from backupsite.repositories.storage import require_storage


def make_spool(stream: WalStream) -> Path:
    """Return the directory of a stream's newest log, beside the repository of its device; make it when it is
    missing. Raise StorageMissing when its disk is not mounted, SetupIncomplete when nobody chose one."""
    repository = ensure_repository(stream.device)
    require_storage(repository.storage)
    path = _spool_of(repository, stream)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def find_spool(stream: WalStream) -> Path | None:
    """Return the directory of a stream's newest log, None while there is none, or its disk is not mounted."""
    repository = Repository.objects.select_related("storage").filter(device=stream.device_id).first()
    if repository is None:
        return None
    path = _spool_of(repository, stream)
    return path if path.is_dir() else None


def _spool_of(repository: Repository, stream: WalStream) -> Path:
    return Path(f"{repository_path(repository)}.wal") / stream.pk.hex


def keep_batch(stream: WalStream, repository: Repository, batch: Batch) -> None:
    """Write down that a piece of a log is in the repository."""
    WalBatch.objects.create(
        stream=stream,
        repository=repository,
        restic_id=batch.restic_id,
        piece=_pack(batch.piece),
        folder=batch.folder,
        size_bytes=batch.bytes,
        stored_at=batch.stored_at,
    )


def read_batches(stream: WalStream) -> tuple[Batch, ...]:
    """Return all batches of a stream, oldest first. Runs one query."""
    return tuple(
        Batch(row.restic_id, _unpack(row.piece), row.folder, row.size_bytes, row.stored_at)
        for row in WalBatch.objects.filter(stream=stream)
    )


def read_log(stream: WalStream) -> WalLog:
    """Return everything that the console has of a log."""
    return WalLog(read_batches(stream), find_spool(stream))


def _pack(piece: Piece) -> dict[str, Any]:
    return {
        "stretch": piece.stretch,
        "system_identifier": piece.system_identifier,
        "timeline": piece.timeline,
        "segment_bytes": piece.segment_bytes,
        "start": piece.start,
        "end": piece.end,
        "since": _pack_tick(piece.since),
        "until": _pack_tick(piece.until),
    }


def _pack_tick(tick: Tick | None) -> list[Any] | None:
    return None if tick is None else [tick.at.isoformat(), tick.seen_at.isoformat(), tick.lsn, tick.whole]


def _unpack(said: dict[str, Any]) -> Piece:
    """Raise ProtocolBroken when it was written by another version."""
    try:
        return Piece(**{**said, "since": _unpack_tick(said["since"]), "until": _unpack_tick(said["until"])})
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolBroken(f"a stored piece of a log cannot be read: {error}") from error


def _unpack_tick(said: list[Any] | None) -> Tick | None:
    if said is None:
        return None
    at, seen_at, lsn, whole = said
    return Tick(datetime.fromisoformat(at), datetime.fromisoformat(seen_at), lsn, whole)
