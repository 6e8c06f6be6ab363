"""Reaching an address: each way to fail has its own sentence and ends in time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from agents.errors import ConnectFailed
from agents.ssh import Target, fetch_host_keys
from agents.ssh.sockets import connect_socket
from tests.live.machine import wait_until


@contextmanager
def listener(answer: Callable[[socket.socket], None], *, address: str = "127.0.0.1") -> Iterator[int]:
    """Listen on a free port and give each connection to `answer`; nothing is closed before the end."""
    server = socket.create_server((address, 0))
    taken: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            taken.append(connection)
            answer(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    thread.join()
    for each in (server, *taken):
        each.close()


def keep_silent(connection: socket.socket) -> None:
    """Accept, and never say a word."""


def fetch(port: int, timeout_s: float = 60.0) -> ConnectFailed:
    started = time.monotonic()
    with pytest.raises(ConnectFailed) as failure:
        fetch_host_keys(Target("127.0.0.1", port, "root"), timeout_s)
    assert time.monotonic() - started < timeout_s + 30
    assert failure.value.retryable
    return failure.value


def test_a_silent_listener() -> None:
    with listener(keep_silent) as port:
        assert "then said nothing" in fetch(port, 1.0).message


def test_a_listener_that_hangs_up() -> None:
    with listener(lambda connection: connection.shutdown(socket.SHUT_RDWR)) as port:
        assert "closed the connection before" in fetch(port).message


def test_a_listener_that_is_no_ssh_server() -> None:
    with listener(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)) as port:
        assert "is not an SSH server" in fetch(port).message


def test_a_server_that_greets_and_then_hangs() -> None:
    with listener(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as port:
        assert "did not go on with the key exchange" in fetch(port, 5.0).message


def test_a_server_that_greets_and_then_talks_nonsense() -> None:
    with listener(lambda connection: connection.sendall(b"SSH-2.0-x\r\n" + b"\xff" * 5000)) as port:
        assert "key exchange" in fetch(port).message


def test_a_refused_port() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        assert "refuses connections" in fetch(reserved.getsockname()[1]).message


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(ConnectFailed, match="could not be found"):
        connect_socket(Target("no-such-device.invalid", 22, "root"), time.monotonic() + 60)


def test_the_next_address_is_tried_after_any_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_addresses(*_: object, **__: object) -> list[tuple[object, ...]]:
        kind = (socket.SOCK_STREAM, 6, "")
        return [
            (
                socket.AF_INET6,
                *kind,
                ("2001:db8::1", port, 0, 0),
            ),  # no route, or no answer, or no IPv6 at all
            (socket.AF_INET, *kind, ("127.0.0.1", port)),
        ]

    with listener(lambda connection: connection.sendall(b"SSH-2.0-x\r\n")) as port:
        monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
        device = connect_socket(Target("both.example", port, "root"), time.monotonic() + 10)
    assert device.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert device.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert device.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 15_000
    device.close()


def test_failures_leave_no_thread_and_no_descriptor() -> None:
    before = threading.active_count()
    with listener(lambda connection: connection.sendall(b"SSH-2.0-x\r\n")) as port:
        for _ in range(3):
            fetch(port, 0.3)
    wait_until(lambda: threading.active_count() <= before, what="the end of the threads")
