"""Threads that serve a door, and the end of a stream that is kept."""

from __future__ import annotations

import socket
import threading

import pytest

from agents import attendants
from agents.attendants import MOST_AT_ONCE, Attendants
from agents.local import SocketStream
from agents.session import Stream
from agents.tail import Tail


def wait_for_the_end(stream: Stream) -> None:
    while stream.recv(10):
        pass


def test_the_seventeenth_is_not_taken_and_closing_ends_all() -> None:
    served = Attendants(wait_for_the_end)
    pairs = [socket.socketpair() for _ in range(MOST_AT_ONCE + 1)]
    taken = [served.take(SocketStream(ours)) for ours, _ in pairs]
    assert taken == [True] * MOST_AT_ONCE + [False]
    served.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "door"]
    assert served.take(SocketStream(pairs[-1][0])) is False
    for ours, theirs in pairs:
        ours.close()
        theirs.close()


def test_a_thread_that_does_not_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendants, "LEAVE_WITHIN_S", 0.2)
    free = threading.Event()

    def serve(stream: Stream) -> None:
        free.wait(20)

    served = Attendants(serve)
    ours, theirs = socket.socketpair()
    served.take(SocketStream(ours))
    with pytest.raises(TimeoutError, match="still being served"):
        served.close()
    free.set()
    theirs.close()


def test_the_tail_keeps_the_last_bytes() -> None:
    tail = Tail(4)
    for piece in (b"ab", b"", b"cdefgh", b"i"):
        tail.add(piece)
    assert tail.kept() == b"fghi"
