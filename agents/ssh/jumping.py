"""The way through a jump host: a channel of its connection in the place of a TCP connection."""

from __future__ import annotations

import contextlib
import time

import paramiko

from agents.errors import AgentError, ConnectFailed, ForwardingRefused
from agents.ssh.keys import jump_line_hint
from agents.ssh.link import LOST, Link
from agents.ssh.target import Target

_PROHIBITED = 1  # RFC 4254, 5.1: what sshd answers when its settings forbid the way


class JumpWire:
    """A way through a jump host. Implements agents.ssh.sockets.Wire."""

    def __init__(self, channel: paramiko.Channel, first: bytes) -> None:
        """Given an open way and the first bytes that came on it, stand for a socket."""
        self._channel = channel
        self._first = first
        self.heard_bytes = len(first)

    def recv(self, bufsize: int, /) -> bytes:
        if self._first:
            first, self._first = self._first[:bufsize], self._first[bufsize:]
            return first
        data = self._channel.recv(bufsize)
        self.heard_bytes += len(data)
        return data

    def send(self, data: bytes, /) -> int:
        return self._channel.send(data)

    def settimeout(self, seconds: float | None, /) -> None:
        self._channel.settimeout(seconds)

    @property
    def _closed(self) -> bool:
        """paramiko asks its sockets for this."""
        return bool(self._channel.closed)

    def close(self) -> None:
        with contextlib.suppress(*LOST):
            self._channel.close()


def open_way(jump: Link, target: Target, deadline: float) -> JumpWire:
    """Given a link to a jump host, a target behind it and a moment of time.monotonic(), return a way on which
    the target said something. Raise ForwardingRefused, ConnectFailed, or ConnectionLost."""
    left_s = max(0.1, deadline - time.monotonic())
    place = (target.address, target.port)
    try:
        channel = jump.transport.open_channel("direct-tcpip", place, ("127.0.0.1", 0), timeout=left_s)
    except paramiko.ChannelException as failure:
        raise _refused(jump, target, failure) from failure
    except LOST as failure:
        if not jump.is_alive:
            raise jump.lost() from failure
        raise _not_answered(jump, target) from failure
    return _greeted(jump, target, channel, deadline)


def _greeted(jump: Link, target: Target, channel: paramiko.Channel, deadline: float) -> JumpWire:
    try:
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        with contextlib.suppress(OSError):  # silence or a cut: said below
            if first := channel.recv(1):
                return JumpWire(channel, first)
        if jump.has_failed:
            raise jump.lost()
        raise ConnectFailed(
            f"{target.subject} was reached through {jump.target.place} and then said nothing.",
            remedy=f"Look whether sshd runs on {target.machine} at this port, and at its log: MaxStartups "
            "and a ban (fail2ban) of the jump host do this.",
        )
    except BaseException:
        with contextlib.suppress(*LOST):
            channel.close()
        raise


def _not_answered(jump: Link, target: Target) -> ConnectFailed:
    return ConnectFailed(
        f"{target.subject} does not answer {jump.target.place}.",
        remedy=f"Check that {target.machine} runs and that its firewall lets the jump host in.",
    )


def _refused(jump: Link, target: Target, failure: paramiko.ChannelException) -> AgentError:
    said = jump.transport.open_refusal
    if failure.code == _PROHIBITED:
        refusal = ForwardingRefused(
            f"sshd on {jump.target.place} does not let the console through to {target.endpoint}.",
            remedy="In /etc/ssh/sshd_config of the jump host set `AllowTcpForwarding yes` (or `local`) and "
            f"`DisableForwarding no`, allow {target.endpoint} in PermitOpen if it is set, reload sshd, and "
            f"use the line with {jump_line_hint([target.endpoint])} "
            f"in authorized_keys of {jump.target.user}.",
            detail=said,
        )
        refusal.tick = "jump-host"
        return refusal
    if "timed out" in said.lower():
        return _not_answered(jump, target)
    return ConnectFailed(
        f"{jump.target.subject} cannot reach {target.endpoint}: {said or 'it does not say why'}.",
        remedy=f"Check the address and the port, that sshd runs on {target.machine}, and that the jump host "
        "may reach it. The name of a device is looked up on the jump host.",
        detail=said,
    )
