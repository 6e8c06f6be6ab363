"""The connection to a device: every address is tried, nothing waits longer than the deadline."""

from __future__ import annotations

import contextlib
import errno
import queue
import select
import socket
import threading
import time
from typing import Protocol

from agents.errors import ConnectFailed
from agents.ssh.target import JumpHost, Target

# Data that the device's kernel does not confirm for so long means that the way is cut.
UNCONFIRMED_S = 15
SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Found = list[tuple[socket.AddressFamily, SocketAddress]]


class Wire(Protocol):
    """What carries the SSH protocol: a TCP connection, or a channel of a jump host's connection."""

    heard_bytes: int

    def recv(self, bufsize: int, /) -> bytes: ...

    def send(self, data: bytes, /) -> int: ...

    def settimeout(self, seconds: float | None, /) -> None: ...

    def close(self) -> None: ...


class HeardSocket(socket.socket):
    """A socket that counts what it received, so that a watchdog sees silence whatever lies above."""

    heard_bytes = 0
    # sshd sets TCP_NODELAY when a session begins. A jump host has none: each of its small answers would wait
    # for our confirmation, which the kernel keeps back for 40 ms (37 ms a command instead of 10).
    confirms_at_once = False

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        self.heard_bytes += len(data)
        if self.confirms_at_once:
            self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # holds for one answer only
        return data


def connect_socket(target: Target, deadline: float) -> HeardSocket:
    """Given a target and a moment of time.monotonic(), return a socket on which the device said something.

    Each address of the name gets its share of the time that is left. Raise ConnectFailed with the reason of
    the first address when none works.
    """
    found = _resolve(target, deadline)
    first_failure: OSError | None = None
    for place, (family, address) in enumerate(found):
        share_s = max(0.1, (deadline - time.monotonic()) / (len(found) - place))
        device = HeardSocket(family, socket.SOCK_STREAM)
        try:
            device.settimeout(share_s)
            device.connect(address)
            _set_options(device)
            device.confirms_at_once = isinstance(target, JumpHost)
        except OSError as failure:
            device.close()
            first_failure = first_failure or failure
        else:
            return _greeted(device, target, deadline)
    raise _explained(target, first_failure)


def _resolve(target: Target, deadline: float) -> Found:
    # getaddrinfo knows no timeout: a thread may outlive us, it only waits for the resolver.
    answers: queue.SimpleQueue[Found | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(target.address, target.port, type=socket.SOCK_STREAM)
            answers.put([(family, address) for family, _, _, _, address in infos])
        except OSError as failure:
            answers.put(failure)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=max(0.1, deadline - time.monotonic()))
    except queue.Empty:
        answer = TimeoutError("the name servers did not answer")
    if isinstance(answer, OSError) or not answer:
        raise ConnectFailed(
            f"The name {target.address} could not be found.",
            remedy="Check the spelling and the console's name servers, or use the IP address.",
            detail=str(answer),
        )
    return answer


def _set_options(device: socket.socket) -> None:
    # Without TCP_NODELAY a no-change backup through the tunnel took 11.3 s instead of 2.3 s.
    device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    device.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    device.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNCONFIRMED_S * 1000)


def _greeted(device: HeardSocket, target: Target, deadline: float) -> HeardSocket:
    """Given a connected socket, wait for the first byte: SSH servers speak first. It stays unread."""
    try:
        with contextlib.suppress(OSError):  # a reset: said below, like an end
            poller = select.poll()  # select() knows no descriptor over 1023
            poller.register(device, select.POLLIN)
            ready = poller.poll(max(100.0, (deadline - time.monotonic()) * 1000))
            if ready and device.recv(1, socket.MSG_PEEK):
                return device
            if not ready:
                raise ConnectFailed(
                    f"{target.subject} accepted the connection and then said nothing.",
                    remedy=f"Look whether sshd hangs on {target.machine}, or something else has this port.",
                )
        raise ConnectFailed(
            f"{target.subject} closed the connection before it said anything.",
            remedy=f"Look at sshd's log on {target.machine}: MaxStartups, a ban (fail2ban) or a full disk "
            "do this.",
        )
    except ConnectFailed:
        device.close()
        raise


def _explained(target: Target, failure: OSError | None) -> ConnectFailed:
    detail = str(failure)
    if isinstance(failure, ConnectionRefusedError):
        return ConnectFailed(
            f"{target.subject} refuses connections: nothing listens there.",
            remedy=f"Check the port, and that sshd runs on {target.machine}.",
            detail=detail,
        )
    if isinstance(failure, TimeoutError):
        return ConnectFailed(
            f"{target.subject} does not answer: {target.machine} is off, or a firewall drops the connection.",
            remedy=f"Check that {target.machine} runs and that its firewall lets the console in.",
            detail=detail,
        )
    if failure is not None and failure.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return ConnectFailed(
            f"There is no route to {target.place}.",
            remedy=f"Check the address, the console's network, and that {target.machine} runs.",
            detail=detail,
        )
    return ConnectFailed(f"{target.subject} could not be reached.", detail=detail)
