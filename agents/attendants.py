"""Threads that serve the connections of one door: at most 16 at once, and none is left behind."""

from __future__ import annotations

import contextlib
import threading
import time

from agents.session import Serve, Stream

MOST_AT_ONCE = 16
LEAVE_WITHIN_S = 30.0


class Attendants:
    """Serves each stream in a thread of its own. Closed streams end their threads."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._lock = threading.Lock()
        self._busy: dict[threading.Thread, Stream] = {}
        self._is_closed = False

    def take(self, stream: Stream) -> bool:
        """Given a new connection, serve it and return True. Return False when no thread is free for it.

        The stream is then still open: the caller closes it."""
        thread = threading.Thread(target=self._attend, args=(stream,), name="door", daemon=True)
        with self._lock:
            if self._is_closed or len(self._busy) >= MOST_AT_ONCE:
                return False
            self._busy[thread] = stream
            thread.start()  # inside of the lock: `close` must never meet a thread that is not started yet
        return True

    def _attend(self, stream: Stream) -> None:
        try:
            # A cut connection is one of the ways in which each ends; what was served says what it got.
            with contextlib.suppress(ConnectionError):
                self._serve(stream)
        finally:
            stream.close()
            with self._lock:
                del self._busy[threading.current_thread()]

    def close(self) -> None:
        """Close every stream and wait for the threads. Raise TimeoutError when one does not end: what it
        serves is then not finished, and its caller must not go on as if it were. May be called twice."""
        with self._lock:
            self._is_closed = True
            busy = dict(self._busy)
        for stream in busy.values():
            stream.close()
        deadline = time.monotonic() + LEAVE_WITHIN_S
        for thread in busy:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in busy):
            raise TimeoutError(f"a connection was still being served {LEAVE_WITHIN_S:.0f} s after its end")
