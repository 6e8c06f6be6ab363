"""A store as if its repository held no snapshots; those that are stored meanwhile lie in memory alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from agents.gateway.memory import MemoryReader
from agents.gateway.store import Reader, Store, StoreFailed, Upload
from agents.gateway.target import Kind, Target


class WithoutSnapshots:
    """Implements agents.gateway.store.Store. Threads may share it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._mutex = threading.Lock()
        self._kept: dict[str, bytes] = {}

    def begin(self, target: Target) -> Upload:
        return _Upload(self, target) if _is_hidden(target) else self._store.begin(target)

    def open(self, target: Target) -> Reader | None:
        if not _is_hidden(target):
            return self._store.open(target)
        content = self._kept.get(target.name or "")
        return None if content is None else MemoryReader(content)

    def size(self, target: Target) -> int | None:
        if not _is_hidden(target):
            return self._store.size(target)
        content = self._kept.get(target.name or "")
        return None if content is None else len(content)

    def list(self, kind: Kind) -> Iterator[tuple[str, int]]:
        if kind is not Kind.SNAPSHOTS:
            return self._store.list(kind)
        with self._mutex:
            return iter([(name, len(content)) for name, content in self._kept.items()])

    def settle(self, target: Target) -> None:
        if not _is_hidden(target):
            self._store.settle(target)

    def remove(self, target: Target) -> None:
        if target.kind is Kind.LOCKS:
            self._store.remove(target)
            return
        if not _is_hidden(target):
            raise StoreFailed("nothing is removed while the snapshots that need it are hidden")
        with self._mutex:
            self._kept.pop(target.name or "", None)

    def keep(self, name: str, content: bytes) -> bool:
        """Keep a snapshot's record until the store goes. Return False when the name is taken."""
        with self._mutex:
            return self._kept.setdefault(name, content) is content


class _Upload:
    def __init__(self, store: WithoutSnapshots, target: Target) -> None:
        self._store, self._name = store, target.name or ""
        self._content = b""

    def write(self, data: bytes) -> None:
        self._content += data

    def publish(self) -> bool:
        return self._store.keep(self._name, self._content)

    def discard(self) -> None:
        return None


def _is_hidden(target: Target) -> bool:
    return target.kind is Kind.SNAPSHOTS
