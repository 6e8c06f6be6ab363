"""Logs of the tests: pieces by their times, and bytes with the headers of PostgreSQL's pages."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

from agents.wal import Base, Piece, Tick

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SEGMENT = 1024 * 1024
PAGE = 8192


def at(second: float) -> datetime:
    return NOON + timedelta(seconds=second)


def tick(second: float, lsn: int, *, skew: float = 0.0) -> Tick:
    """The server's clock is `skew` seconds ahead of the console's."""
    return Tick(at(second + skew), at(second), lsn, lsn)


def piece(
    start: float, end: float, since: float, until: float, *, stretch: str = "a", skew: float = 0.0
) -> Piece:
    """From segment `start` to segment `end`, whose log is of the seconds `since` to `until`."""
    first, last = int(start * SEGMENT), int(end * SEGMENT)
    ticks = (tick(since, first + 1, skew=skew), tick(until, last, skew=skew))
    return Piece(stretch, "7", 1, SEGMENT, first, last, *ticks)


def base(began: float, ended: float, key: str = "base") -> Base:
    return Base(key, at(began), at(ended))


def make_log(start: int, size: int, *, timeline: int = 1, filler: bytes = b"x") -> bytes:
    """Return log from a position on as it lies on the server's disk."""
    pages = bytearray()
    first = start // PAGE * PAGE
    for position in range(first, start + size, PAGE):
        header = struct.pack("<HHIQ", 0xD110, 1, timeline, position)
        pages += header + filler * (PAGE - len(header))
    return bytes(pages[start - first : start - first + size])
