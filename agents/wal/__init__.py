"""PostgreSQL's write-ahead log, streamed into the console: an instance comes back to any moment.

Words: the *stream* is a supervised program on the device that hands over the log, second by second; the
*spool* is a directory of the console with the newest of it, on disk before the device may forget it; a
*batch* is a restic snapshot of full segments; a *stretch* is log without a gap; a *tick* says up to where the
log was on the server's disk at a time; the *coverage* is the moments that can be reached. The flows are
`agents.wal.stream.stream` and `drop_slot`; a comeback to a moment is one of `agents.comeback`.
"""

from agents.wal.batches import store_batch
from agents.wal.coverage import base_for, coverage
from agents.wal.spool import read_spool
from agents.wal.words import (
    Base,
    Batch,
    Gap,
    Piece,
    Replay,
    StreamBroken,
    Streamed,
    StreamRequest,
    Tick,
    WalLog,
    Window,
    make_slot_name,
)

__all__ = [
    "Base",
    "Batch",
    "Gap",
    "Piece",
    "Replay",
    "StreamBroken",
    "StreamRequest",
    "Streamed",
    "Tick",
    "WalLog",
    "Window",
    "base_for",
    "coverage",
    "make_slot_name",
    "read_spool",
    "store_batch",
]
