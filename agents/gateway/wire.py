"""HTTP/1.1 on one byte stream. h11 reads each request's head and writes each answer's head; bodies of a known
length pass by it untouched, because its copies would cost a third of the throughput."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import h11

from agents.session import Stream

CHUNK = 256 * 1024
_HEAD_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the other side may be silent, in seconds. `body_s` is longer than `head_s` because the load
    limiter may stop restic for two minutes in the middle of an upload."""

    idle_s: float = 600
    head_s: float = 30
    body_s: float = 150


class Malformed(Exception):
    """What came in is not a request that we understand. The connection cannot be used any more."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request. `length` is None when it announces no body; `is_framed` is False when it
    announces one in a way that we do not read (chunked)."""

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    length: int | None
    is_framed: bool
    is_last: bool
    wants_continue: bool

    @property
    def shown(self) -> str:
        """The target for a log line, bounded."""
        return self.target[:200].decode("ascii", "backslashreplace")


class Wire:
    """One connection. Used by one thread, except for `close`."""

    def __init__(self, stream: Stream, timeouts: Timeouts) -> None:
        self._stream = stream
        self._timeouts = timeouts
        self._rest = b""
        self._unread = 0
        self._http = h11.Connection(h11.SERVER)

    def next_request(self) -> Request | None:
        """Return the next request, None when the other side is done.

        Raise Malformed, TimeoutError after the time for silence or for a whole head, OSError when cut."""
        if not self._rest:
            self._stream.settimeout(self._timeouts.idle_s)
            self._rest = self._stream.recv(CHUNK)
            if not self._rest:
                return None
        # A connection object for each request: h11 then never sees the body that passes by it.
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_LIMIT)
        try:
            head = self._read_head()
        except h11.RemoteProtocolError as error:
            raise Malformed(str(error)) from error
        if head is None:
            return None
        self._rest = self._http.trailing_data[0]
        return self._understand(head)

    def _read_head(self) -> h11.Request | None:
        deadline = time.monotonic() + self._timeouts.head_s
        self._http.receive_data(self._rest)
        while (event := self._http.next_event()) is h11.NEED_DATA:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the head of a request took too long")
            self._stream.settimeout(left)
            data = self._stream.recv(CHUNK)
            if not data:
                return None
            self._http.receive_data(data)
        return event if isinstance(event, h11.Request) else None

    def _understand(self, head: h11.Request) -> Request:
        headers = {bytes(name): bytes(value) for name, value in head.headers}
        length = headers.get(b"content-length")
        self._unread = 0 if length is None else int(length)
        is_framed = b"transfer-encoding" not in headers
        closes = b"close" in headers.get(b"connection", b"").lower() or head.http_version != b"1.1"
        return Request(
            head.method.decode("ascii"),
            head.target,
            headers,
            None if length is None else self._unread,
            is_framed,
            closes or not is_framed,
            self._http.they_are_waiting_for_100_continue,
        )

    def body(self, request: Request) -> Iterator[bytes]:
        """Return the body piece by piece. Raise TimeoutError when a piece does not come, OSError when cut."""
        if request.wants_continue:
            self._stream.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._stream.settimeout(self._timeouts.body_s)
        while self._unread:
            if self._rest:
                data, self._rest = self._rest[: self._unread], self._rest[self._unread :]
            else:
                data = self._stream.recv(min(CHUNK, self._unread))
            if not data:
                raise ConnectionResetError("the connection ended in the middle of an upload")
            self._unread -= len(data)
            yield data

    def skip_body(self, request: Request, limit: int) -> bool:
        """Read away what is left of a body, so that the answer is heard. Return False when it is longer than
        `limit` or of unknown length: then the connection must end after the answer."""
        if not request.is_framed or request.wants_continue:
            return False
        if self._unread > limit:
            return False
        for _ in self.body(request):
            pass
        return True

    def answer(
        self, status: int, headers: dict[str, str], body: bytes = b"", *, is_last: bool = False
    ) -> None:
        """Send head and body in one send. Raise OSError when the other side is gone."""
        self._stream.settimeout(self._timeouts.body_s)
        self._stream.sendall(self._head(status, headers, is_last) + body)

    def answer_in_pieces(self, headers: dict[str, str], pieces: Iterator[bytes], *, is_last: bool) -> int:
        """Send an answer of unknown length, chunked. Return the number of bytes of its body."""
        self._stream.settimeout(self._timeouts.body_s)
        total, pending = 0, self._head(200, headers, is_last)
        for piece in pieces:
            total += len(piece)
            pending += self._http.send(h11.Data(data=piece)) or b""
            if len(pending) >= CHUNK:
                self._stream.sendall(pending)
                pending = b""
        self._stream.sendall(pending + (self._http.send(h11.EndOfMessage()) or b""))
        return total

    def send(self, data: bytes) -> None:
        """Send more of a body whose length the head announced."""
        self._stream.sendall(data)

    def close(self) -> None:
        """End the connection. May be called twice and from another thread."""
        self._stream.close()

    def _head(self, status: int, headers: dict[str, str], is_last: bool) -> bytes:
        fields = [*headers.items(), *([("Connection", "close")] if is_last else [])]
        return self._http.send(h11.Response(status_code=status, headers=fields)) or b""
