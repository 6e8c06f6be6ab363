"""A store that counts what is read of it, and reads and writes no faster than it was told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from agents.gateway.local import LocalReader
from agents.gateway.store import OpenStore, Reader, Upload
from agents.gateway.target import Kind, Target

# Who did nothing for a while may be ahead by so much at once.
_BURST_S = 0.5


class Meter:
    """Counts the bytes that were read, and holds reading and writing together to a rate; zero: as fast as it
    goes. Threads share it."""

    def __init__(
        self,
        rate_bytes_s: int = 0,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate, self._now, self._sleep = rate_bytes_s, now, sleep
        self._mutex = threading.Lock()
        self._paid_until = now() - _BURST_S
        self._read_bytes = 0

    @property
    def read_bytes(self) -> int:
        return self._read_bytes

    def took(self, size: int) -> None:
        """So much was read. Returns when that is no faster than the rate."""
        with self._mutex:
            self._read_bytes += size
        self.moved(size)

    def moved(self, size: int) -> None:
        """So much went through, which is not counted. Returns when that is no faster than the rate."""
        if not self._rate:
            return
        with self._mutex:
            now = self._now()
            self._paid_until = max(self._paid_until, now - _BURST_S) + size / self._rate
            ahead_s = self._paid_until - now
        if ahead_s > 0:
            self._sleep(ahead_s)


class MeteredStore:
    """Implements agents.gateway.store.OpenStore. Threads may share it."""

    def __init__(self, store: OpenStore, meter: Meter) -> None:
        self._store, self._meter = store, meter

    def begin(self, target: Target) -> Upload:
        return _Upload(self._store.begin(target), self._meter)

    def open(self, target: Target) -> Reader | None:
        reader = self._store.open(target)
        return None if reader is None else MeteredReader(reader, self._meter)

    def size(self, target: Target) -> int | None:
        return self._store.size(target)

    def list(self, kind: Kind) -> Iterator[tuple[str, int]]:
        return self._store.list(kind)

    def settle(self, target: Target) -> None:
        self._store.settle(target)

    def remove(self, target: Target) -> None:
        self._store.remove(target)

    def move_out(self, target: Target, folder: Path) -> None:
        self._store.move_out(target, folder)

    def remove_temporary(self) -> int:
        return self._store.remove_temporary()

    def __enter__(self) -> Self:
        self._store.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._store.__exit__(*error)


class MeteredReader:
    """An open file whose bytes are counted as they come."""

    def __init__(self, reader: Reader, meter: Meter) -> None:
        self._reader, self._meter = reader, meter
        self.size = reader.size

    def expect(self, end: int) -> None:
        self._reader.expect(end)

    def read(self, offset: int, length: int) -> bytes:
        piece = self._reader.read(offset, length)
        self._meter.took(len(piece))
        return piece

    def forget_cached(self) -> None:
        """Have the next reads come from the disk, if that is where the file lies."""
        if isinstance(self._reader, LocalReader):
            self._reader.forget_cached()

    def close(self) -> None:
        self._reader.close()


class _Upload:
    def __init__(self, upload: Upload, meter: Meter) -> None:
        self._upload, self._meter = upload, meter

    def write(self, data: bytes) -> None:
        self._upload.write(data)
        self._meter.moved(len(data))

    def publish(self) -> bool:
        return self._upload.publish()

    def discard(self) -> None:
        self._upload.discard()
