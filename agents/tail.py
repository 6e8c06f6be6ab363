"""The end of a stream that may be endless: what a program wrote to stderr, bounded."""

from __future__ import annotations

import threading

TAIL_BYTES = 64 * 1024


class Tail:
    """Keeps the last bytes that were added. One thread adds, any thread looks."""

    def __init__(self, limit_bytes: int = TAIL_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._kept = bytearray()

    def add(self, data: bytes) -> None:
        """Given the next bytes of the stream, keep them and forget what is too old."""
        with self._lock:
            self._kept += data
            del self._kept[: -self._limit_bytes]

    def kept(self) -> bytes:
        """Return the bytes that are kept now."""
        with self._lock:
            return bytes(self._kept)
