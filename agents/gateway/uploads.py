"""What a run may add: files whose name is the SHA-256 of their content, and its own locks."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from agents.gateway.journal import Entry, Journal
from agents.gateway.rules import MAX_LIVE_LOCKS, Refused, check_length
from agents.gateway.store import Store, StoreFailed, Upload
from agents.gateway.target import Kind, Target
from agents.gateway.wire import CHUNK, Request, Wire

_DURABLE = (Kind.INDEX, Kind.SNAPSHOTS)


class Uploads:
    """The writing side of one gateway. Threads share it."""

    def __init__(self, store: Store, journal: Journal, check_current: Callable[[], None]) -> None:
        self._store = store
        self._journal = journal
        self._check_current = check_current
        self._mutex = threading.Lock()
        self._locks: set[str] = set()
        self._arriving = 0
        self._stored_bytes = 0

    @property
    def stored_bytes(self) -> int:
        """The bytes of all files that this run added."""
        return self._stored_bytes

    def receive(self, wire: Wire, request: Request, target: Target) -> None:
        """Take the body of a POST; return when it is durable under its name.

        The same file once more is no error: restic repeats a request whose answer was lost.
        Raise Refused, StoreFailed when the store or the journal cannot, OSError when the stream is cut.
        """
        length = check_length(target, request.length)
        with self._lock_slot(target):
            upload = self._store.begin(target)
            try:
                self._fill(upload, wire, request, target)
                self._check_current()
                if upload.publish():
                    self._record(target, length)
                else:
                    self._accept_repeat(target)
            finally:
                upload.discard()

    def remove(self, target: Target) -> None:
        """Remove a file of whatever run: only the server's own restic may ask for that."""
        self._store.remove(target)
        with self._mutex:
            self._locks.discard(target.name or "")

    def remove_lock(self, target: Target) -> None:
        """Remove a lock that this run made. Raise Refused for any other."""
        name = target.name or ""
        with self._mutex:
            is_own = name in self._locks
        if not is_own:
            if self._store.size(target) is None:  # restic asks twice when an answer was lost
                raise Refused(404, "there is no such lock", breaks_rule=False)
            raise Refused(403, "a run may remove only the locks that it made")
        self._store.remove(target)
        with self._mutex:
            self._locks.discard(name)

    def remove_own_locks(self) -> None:
        """Remove what this run left locked. Raise StoreFailed when the store cannot."""
        with self._mutex:
            names = tuple(self._locks)
        for name in names:
            with suppress(Refused):  # restic removed it in this moment
                self.remove_lock(Target(Kind.LOCKS, name))

    def _fill(self, upload: Upload, wire: Wire, request: Request, target: Target) -> None:
        digest = hashlib.sha256()
        for data in wire.body(request):
            digest.update(data)
            upload.write(data)
        if digest.hexdigest() != target.name:
            raise Refused(403, "the content does not have the SHA-256 that is its name")

    def _record(self, target: Target, size: int) -> None:
        entry = Entry(target.kind, target.name or "", size)
        try:
            self._journal.add(entry, durable=target.kind in _DURABLE)
        except OSError as error:
            self._store.remove(target)  # nobody was told yet that it exists
            raise StoreFailed.of(error) from error
        with self._mutex:
            self._stored_bytes += size
            if target.kind is Kind.LOCKS:
                self._locks.add(entry.name)

    def _accept_repeat(self, target: Target) -> None:
        """Return when the stored file is whole and durable. Raise Refused when it is damaged."""
        reader = self._store.open(target)
        if reader is None:
            raise Refused(403, "the file went away while it was sent again", breaks_rule=False)
        digest, offset = hashlib.sha256(), 0
        try:
            while data := reader.read(offset, CHUNK):
                digest.update(data)
                offset += len(data)
        finally:
            reader.close()
        if digest.hexdigest() != target.name:
            reason = "another content is stored under this name: the repository is damaged"
            raise Refused(403, reason, breaks_rule=False)
        self._store.settle(target)

    @contextmanager
    def _lock_slot(self, target: Target) -> Iterator[None]:
        """Hold one of the few places for locks while a lock comes in, so that many at once are counted."""
        if target.kind is not Kind.LOCKS:
            yield
            return
        with self._mutex:
            if len(self._locks) + self._arriving >= MAX_LIVE_LOCKS:
                raise Refused(403, f"a run may hold {MAX_LIVE_LOCKS} locks at once")
            self._arriving += 1
        try:
            yield
        finally:
            with self._mutex:
                self._arriving -= 1
