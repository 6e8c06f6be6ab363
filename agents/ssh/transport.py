"""The SSH protocol under our rules: which algorithms, which errors. Nothing is authenticated here."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import paramiko
from paramiko.common import MSG_CHANNEL_REQUEST
from paramiko.ssh_exception import IncompatiblePeer

from agents.errors import ConnectFailed, PlatformRefused
from agents.ssh.keys import HostKey, signatures_of
from agents.ssh.sockets import Wire
from agents.ssh.target import Target

# Given a moment of time.monotonic(), open what carries the protocol.
Dial = Callable[[float], Wire]
# GCM is listed last by paramiko and is half as fast again as CTR (352 against 236 MB/s).
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
DIGESTS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)
# paramiko logs, with a traceback, each error that it also raises: they are all said by our own errors.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

_channel_handlers: dict[int, Callable[..., None]] = vars(paramiko.Transport)["_channel_handler_table"]


def _handle_channel_request(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """Given a request of the device for a channel, handle it as paramiko does, and learn of a program that
    was killed: paramiko drops "exit-signal", so that such a program would seem to end without any status."""
    told = paramiko.Message(message.get_remainder())
    _channel_handlers[MSG_CHANNEL_REQUEST](channel, message)
    if told.get_text() == "exit-signal":
        told.get_boolean()
        name = f"SIG{told.get_text()}"
        known = {each.name: each.value for each in signal.Signals}
        channel.exit_status = 128 + known.get(name, 0)
        channel.status_event.set()


class DeviceTransport(paramiko.Transport):
    """A transport that only speaks what we allow."""

    _channel_handler_table: ClassVar[dict[int, Callable[..., None]]] = {
        **_channel_handlers,
        MSG_CHANNEL_REQUEST: _handle_channel_request,
    }

    def __init__(self, wire: Wire, signatures: Sequence[str], deadline: float) -> None:
        way: Any = wire  # paramiko's types know sockets and its own channels only
        super().__init__(way)
        self.wire = wire
        self.open_refusal = ""
        options: Any = self.get_security_options()
        options.ciphers = CIPHERS
        options.digests = DIGESTS
        options.key_types = tuple(signatures)
        left_s = max(0.1, deadline - time.monotonic())
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = left_s

    def close(self) -> None:
        """Close the connection, also when the protocol never started, and wait shortly for the thread."""
        super().close()
        self.wire.close()
        if self.ident is not None and self is not threading.current_thread():
            self.join(2.0)

    def _parse_channel_open_failure(self, message: paramiko.Message) -> None:
        """paramiko keeps the number of the reason and drops what sshd says with it."""
        told = paramiko.Message(message.get_remainder())
        told.get_int(), told.get_int()
        self.open_refusal = told.get_string().decode("utf-8", "replace")[:500]
        vars(paramiko.Transport)["_parse_channel_open_failure"](self, message)

    def remote_host_key(self) -> HostKey:
        """Return the key that the device proved to have in the key exchange."""
        key = self.get_remote_server_key()
        return HostKey(key.get_name(), key.asbytes())


def open_transport(target: Target, dial: Dial, key_types: Sequence[str], deadline: float) -> DeviceTransport:
    """Given a way and the types of host keys to accept, return a connection whose key exchange is done.

    Nobody has looked at the host key yet. Raise ConnectFailed, or IncompatiblePeer of paramiko when the
    device offers none of these types (or no cipher of ours).
    """
    transport = DeviceTransport(dial(deadline), signatures_of(key_types), deadline)
    done = threading.Event()
    try:
        transport.start_client(event=done)
        done.wait(max(0.1, deadline - time.monotonic()))
        if not transport.is_active() or not transport.initial_kex_done:
            raise _explained(target, transport)
    except BaseException:
        transport.close()
        raise
    return transport


def _explained(target: Target, transport: DeviceTransport) -> Exception:
    failure = transport.saved_exception
    if isinstance(failure, IncompatiblePeer):
        return failure
    if not transport.remote_version:
        return ConnectFailed(
            f"What answers at {target.place} is not an SSH server.",
            remedy="Check the port.",
            detail=str(failure or ""),
        )
    if failure is None:
        return ConnectFailed(
            f"{target.subject} greeted and then did not go on with the key exchange.",
            remedy=f"Look whether sshd on {target.machine} hangs or the machine is overloaded.",
        )
    return ConnectFailed(
        f"The key exchange with {target.place} failed.",
        remedy=f"Look at sshd's log on {target.machine}.",
        detail=str(failure) or type(failure).__name__,
    )


def nothing_in_common(target: Target, failure: Exception) -> PlatformRefused:
    """Given why no algorithm fits, return the error that says it."""
    return PlatformRefused(
        f"The SSH server at {target.place} offers no algorithm that Hotfleet accepts.",
        remedy=f"Update OpenSSH on {target.machine}: "
        "AES, HMAC-SHA-2 and a host key without SHA-1 are needed.",
        detail=str(failure),
    )
