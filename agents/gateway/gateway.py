"""The gateway of one run: serves restic's REST protocol (v2) on any number of streams at once."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain

from agents.gateway.credentials import Credentials, KeyFile
from agents.gateway.journal import Journal
from agents.gateway.memory import MemoryReader
from agents.gateway.rules import CAPS, MAX_REFUSALS, MIB, Refusal, Refused, Rights, check_rights
from agents.gateway.store import Reader, Store, StoreFailed
from agents.gateway.target import Kind, Target, parse_target
from agents.gateway.uploads import Uploads
from agents.gateway.wire import CHUNK, Malformed, Request, Timeouts, Wire
from agents.session import Stream

_V1 = "application/vnd.x.restic.rest.v1"
_V2 = "application/vnd.x.restic.rest.v2"
_RANGE = re.compile(rb"bytes=([0-9]{1,15})-([0-9]{0,15})")
_CLOSE_TIMEOUT_S = 60.0
_BINARY = {"Content-Type": "application/octet-stream"}


class Gateway:
    """The door to one repository for one run. Threads call `serve`, one for each stream."""

    def __init__(
        self,
        store: Store,
        credentials: Credentials,
        *,
        rights: Rights,
        journal: Journal,
        run_key: KeyFile | None = None,
        is_current: Callable[[], bool] = lambda: True,
        timeouts: Timeouts | None = None,
    ) -> None:
        """`run_key`: when given, the device sees this key and no other. `is_current` says whether this run
        still holds its lease; it is asked at most once a second."""
        self._store = store
        self._credentials = credentials
        self._rights = rights
        self._run_key = run_key
        self._is_current = is_current
        self._timeouts = timeouts or Timeouts()
        self._mutex = threading.Lock()
        self._changed = threading.Condition(self._mutex)
        self._wires: set[Wire] = set()
        self._refusals: list[Refusal] = []
        self._sent_bytes = 0
        self._journal = journal
        self._broken_rule = ""
        self._unfinished: set[bytes] = set()
        self._is_fenced = False
        self._store_failure: StoreFailed | None = None
        self._checked_at = float("-inf")
        self._is_closed = False
        self._uploads = Uploads(store, journal, self._check_current)

    @property
    def stored_bytes(self) -> int:
        """The bytes of the files that this run added."""
        return self._uploads.stored_bytes

    @property
    def sent_bytes(self) -> int:
        """The bytes of the bodies that this run read."""
        return self._sent_bytes

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The first hundred requests that were not served."""
        with self._mutex:
            return tuple(self._refusals)

    @property
    def out_of_space(self) -> bool:
        """True when an upload was refused because the repository's storage is full."""
        return any(refusal.out_of_space for refusal in self.refusals)

    @property
    def broken_rule(self) -> str:
        """The first rule that the run's own restic broke, "" when it broke none. The journal says it too."""
        return self._broken_rule

    @property
    def store_failure(self) -> StoreFailed | None:
        """What the store could not do last, None when it did everything. restic may have got it later."""
        return self._store_failure

    @property
    def is_fenced(self) -> bool:
        """True when a request was refused because the run does not hold its lease any more."""
        return self._is_fenced

    def serve(self, stream: Stream) -> None:
        """Serve one connection to its end, then close it. Whatever the other side does, this returns."""
        wire = Wire(stream, self._timeouts)
        with self._mutex:
            is_open = not self._is_closed
            if is_open:
                self._wires.add(wire)
        try:
            # A cut or silent stream is no failure of its own: restic connects again, or its run fails.
            with suppress(OSError):
                while is_open:
                    is_open = self._serve_next(wire)
        finally:
            wire.close()
            with self._mutex:
                self._wires.discard(wire)
                self._changed.notify_all()

    def close(self) -> None:
        """End every connection, wait until nobody serves any more, then remove the locks that this run left.

        May be called twice. Close the store and the journal after it. Raise StoreFailed when an upload does
        not end (a hanging disk) or a lock could not be removed."""
        with self._mutex:
            self._is_closed = True
            wires = tuple(self._wires)
        for wire in wires:
            wire.close()
        with self._mutex:
            if not self._changed.wait_for(lambda: not self._wires, _CLOSE_TIMEOUT_S):
                raise StoreFailed("the repository's storage does not answer")
        self._uploads.remove_own_locks()

    def _serve_next(self, wire: Wire) -> bool:
        """Serve one request. Return False when the connection is done."""
        try:
            request = wire.next_request()
        except Malformed as error:
            self._keep(Refusal("?", "?", 400, str(error)))
            wire.answer(400, {}, is_last=True)
            return False
        if request is None:
            return False
        is_known = False
        try:
            self._check_credentials(request)
            is_known = True
            self._act(wire, request)
            return not request.is_last
        except StoreFailed as error:
            self._store_failure = error
            refused = Refused.by_store(error)
        except Refused as error:
            refused = error
        return self._refuse(wire, request, refused, _skip_bytes(request) if is_known else MIB)

    def _refuse(self, wire: Wire, request: Request, refused: Refused, skip_bytes: int) -> bool:
        """Answer with a final no and keep the reason. Return whether the connection may go on."""
        method = request.method[:16]
        refusal = Refusal(
            method, request.shown, refused.status, refused.reason, refused.out_of_space, refused.breaks_rule
        )
        self._keep(refusal)
        if refused.breaks_rule:
            self._condemn(refusal)
        may_go_on = wire.skip_body(request, skip_bytes) and not request.is_last
        body = refused.reason.encode()
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
        if refused.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="run"'
        wire.answer(refused.status, headers, b"" if method == "HEAD" else body, is_last=not may_go_on)
        return may_go_on

    def _keep(self, refusal: Refusal) -> None:
        with self._mutex:
            if len(self._refusals) < MAX_REFUSALS:
                self._refusals.append(refusal)
            elif refusal.out_of_space and not any(kept.out_of_space for kept in self._refusals):
                self._refusals[-1] = refusal

    def _condemn(self, refusal: Refusal) -> None:
        """Remember a broken rule, in the journal too: it must be known after a crash of this process."""
        with self._mutex:
            if self._broken_rule:
                return
            self._broken_rule = f"{refusal.method} {refusal.target}: {refusal.reason}"
        self._journal.condemn(self._broken_rule)

    def _check_credentials(self, request: Request) -> None:
        if not self._credentials.match(request.headers.get(b"authorization", b"")):
            raise Refused(401, "user or password of this run are wrong", breaks_rule=False)

    def _check_current(self) -> None:
        """Raise Refused when the run does not hold its lease any more."""
        with self._mutex:
            now = time.monotonic()
            is_fresh = now - self._checked_at < 1.0
        if self._is_closed or not (is_fresh or self._is_current()):
            self._is_fenced = True
            raise Refused(403, "the run is over", breaks_rule=False)
        if not is_fresh:
            with self._mutex:
                self._checked_at = now

    def _act(self, wire: Wire, request: Request) -> None:
        self._note_upload(request)
        target = check_rights(request.method, parse_target(request.target), self._rights)
        self._check_current()
        if not request.is_framed:
            raise Refused(411, "an upload must announce its length")
        if request.method == "POST":
            self._uploads.receive(wire, request, target)
            wire.answer(200, {"Content-Length": "0"}, is_last=request.is_last)
            with self._mutex:
                self._unfinished.discard(request.target)
            return
        if request.length:
            raise Refused(403, "only an upload may have a body")
        if request.method == "DELETE":
            if self._rights is Rights.SERVER:
                self._uploads.remove(target)
            else:
                self._uploads.remove_lock(target)
            wire.answer(200, {"Content-Length": "0"}, is_last=request.is_last)
        elif target.is_folder:
            self._list(wire, request, target.kind)
        else:
            self._give(wire, request, target)

    def _note_upload(self, request: Request) -> None:
        """Remember uploads until they succeed: restic deletes what it could not save and breaks no rule."""
        with self._mutex:
            if request.method == "POST" and len(self._unfinished) < MAX_REFUSALS:
                self._unfinished.add(request.target)
            is_taken_back = request.method == "DELETE" and request.target in self._unfinished
        is_lock = request.target.startswith(b"/locks/")
        if is_taken_back and not is_lock and self._rights is not Rights.SERVER:
            raise Refused(403, "nothing is deleted; this upload did not succeed", breaks_rule=False)

    def _list(self, wire: Wire, request: Request, kind: Kind) -> None:
        is_v2 = _V2.encode() in request.headers.get(b"accept", b"")
        headers = {"Content-Type": _V2 if is_v2 else _V1}
        if kind is Kind.KEYS and self._run_key is not None:
            names = iter([(self._run_key.name, len(self._run_key.content))])
        else:
            names = self._store.list(kind)
        pieces = _as_json(names, is_v2=is_v2)
        first = next(pieces)  # a store that fails here can still be told with a 403
        rest = self._cut_on_failure(pieces)
        sent = wire.answer_in_pieces(headers, chain([first], rest), is_last=request.is_last)
        self._count_sent(sent)

    def _give(self, wire: Wire, request: Request, target: Target) -> None:
        if target.kind is Kind.KEYS and self._run_key is not None:
            content = self._run_key.content
            reader: Reader | None = MemoryReader(content) if target.name == self._run_key.name else None
        else:
            reader = self._store.open(target)
        if reader is None:
            # What restic asks to learn whether a file exists: an answer, not a refusal.
            wire.answer(404, {"Content-Length": "0"}, is_last=request.is_last)
            return
        try:
            self._send_file(wire, request, reader)
        finally:
            reader.close()

    def _send_file(self, wire: Wire, request: Request, reader: Reader) -> None:
        """Send a file or the asked range of it; head and first piece go out together."""
        span = _parse_range(request.headers.get(b"range"), reader.size)
        if span is None:
            headers = {"Content-Range": f"bytes */{reader.size}", "Content-Length": "0"}
            wire.answer(416, headers, is_last=request.is_last)
            return
        start, end = span
        headers = _BINARY | {"Content-Length": str(end - start), "Accept-Ranges": "bytes"}
        status = 200
        if b"range" in request.headers:
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{reader.size}"
        if request.method == "HEAD":
            wire.answer(status, headers, is_last=request.is_last)
            return
        reader.expect(end)
        data = reader.read(start, min(CHUNK, end - start))
        wire.answer(status, headers, data, is_last=request.is_last)
        self._count_sent(len(data))
        while (start := start + len(data)) < end:
            data = self._read_on(reader, start, end)
            wire.send(data)
            self._count_sent(len(data))

    def _read_on(self, reader: Reader, start: int, end: int) -> bytes:
        """Return the next piece. Raise OSError when it is not there: the head is out, so only a cut
        connection can say that something is wrong."""
        try:
            data = reader.read(start, min(CHUNK, end - start))
        except StoreFailed as error:
            self._store_failure = error
            raise ConnectionAbortedError(error.reason) from error
        if not data:
            raise ConnectionAbortedError("a file of the repository became shorter")
        return data

    def _count_sent(self, size: int) -> None:
        with self._mutex:
            self._sent_bytes += size

    def _cut_on_failure(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Turn a failing store into a cut connection: the head is out, a half list must not look whole."""
        try:
            yield from pieces
        except StoreFailed as error:
            self._store_failure = error
            raise ConnectionAbortedError(error.reason) from error


def _skip_bytes(request: Request) -> int:
    """Return how much of a refused body is read away: what restic may send, so that it hears the answer."""
    target = parse_target(request.target)
    return MIB if target is None else CAPS.get(target.kind, MIB)


def _parse_range(value: bytes | None, size: int) -> tuple[int, int] | None:
    """Given a Range header, return start and end (excluded). Return None when nothing of it exists."""
    if value is None:
        return 0, size
    match = _RANGE.fullmatch(value)
    if match is None:
        return None
    start = int(match[1])
    end = min(int(match[2]) + 1, size) if match[2] else size
    return (start, end) if start < end else None


def _as_json(names: Iterator[tuple[str, int]], *, is_v2: bool) -> Iterator[bytes]:
    """Given the files of a folder, return a JSON list in pieces of some 64 KiB, so that a folder of a million
    packs needs no memory."""
    pending, separator = ["["], ""
    for name, size in names:
        pending.append(separator + json.dumps({"name": name, "size": size} if is_v2 else name))
        separator = ","
        if len(pending) >= 600:
            yield "".join(pending).encode()
            pending = []
    yield "".join([*pending, "]"]).encode()
