"""The reverse tunnel: a port on the device's loopback whose connections are served here.

paramiko knows one handler per transport (a second request_port_forward replaces it, a cancel clears it for
all) and calls it in the transport's own thread. So: one dispatcher per connection, keyed by port; its handler
only puts the channel into a queue, a thread of its own hands it on or refuses it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import paramiko

from agents.attendants import Attendants
from agents.errors import ForwardingRefused
from agents.session import Serve
from agents.ssh.channels import ChannelStream
from agents.ssh.link import LOST, Link

_LOOPBACK = "127.0.0.1"
# restic opens a handful. A device that opens more than this faster than we refuse them means harm.
MOST_WAITING = 256
_TRIES = 2


@dataclass(frozen=True)
class SshDoor:
    """Implements agents.session.Door."""

    port: int

    @property
    def repository_url(self) -> str:
        return f"rest:http://{_LOOPBACK}:{self.port}/"


class Dispatcher:
    """Hands the connections of all doors of one link to their attendants."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._attendants: dict[int, Attendants] = {}
        self._arrived: queue.SimpleQueue[tuple[paramiko.Channel, int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def open_door(self, serve: Serve) -> Iterator[SshDoor]:
        """Open a port on the device and serve its connections until the context ends."""
        attendants = Attendants(serve)
        port = self._request_port()
        with self._lock:
            self._attendants[port] = attendants
            if self._thread is None:
                self._thread = threading.Thread(target=self._dispatch, name="doors", daemon=True)
                self._thread.start()
        try:
            yield SshDoor(port)
        finally:
            with self._lock:
                del self._attendants[port]
            self._cancel_port(port)
            attendants.close()

    def _request_port(self) -> int:
        failure: Exception | None = None
        # Twice, because a key exchange that ends meanwhile looks like an answer to paramiko.
        for _ in range(_TRIES):
            try:
                with self._link.global_requests:
                    port = self._link.transport.request_port_forward(_LOOPBACK, 0, self._arrive)
            except LOST as denied:
                failure = denied
                continue
            if port:
                return port
        if not self._link.is_alive:
            raise self._link.lost()
        raise ForwardingRefused(
            f"sshd on {self._link.target.label} does not allow the reverse tunnel.",
            remedy="In /etc/ssh/sshd_config of the device set `AllowTcpForwarding yes` (or `remote`) and "
            "`DisableForwarding no`, allow 127.0.0.1:* in PermitListen if it is set, reload sshd, and "
            'use the line with port-forwarding,permitlisten="127.0.0.1:*" in authorized_keys.',
            detail=str(failure or ""),
        )

    def _cancel_port(self, port: int) -> None:
        if not self._link.is_alive:
            return  # the port went with the connection
        # Not cancel_port_forward(): it would take the handler away from the other doors.
        with contextlib.suppress(*LOST), self._link.global_requests:
            self._link.transport.global_request("cancel-tcpip-forward", (_LOOPBACK, port), wait=True)

    def _arrive(self, channel: paramiko.Channel, origin: tuple[str, int], server: tuple[str, int]) -> None:
        """Runs in the transport's thread: must never wait, and never send."""
        self._arrived.put((channel, server[1]))
        if self._arrived.qsize() > MOST_WAITING:
            self._link.drop("the device opened connections faster than they can be refused")

    def _dispatch(self) -> None:
        while (arrival := self._arrived.get()) is not None:
            channel, port = arrival
            stream = ChannelStream(self._link, channel)
            with self._lock:
                attendants = self._attendants.get(port)
            if attendants is None or not attendants.take(stream):
                stream.close()

    def close(self) -> None:
        """End the dispatcher's thread. The connection must be closed already."""
        self._arrived.put(None)
