"""One connection that is alive or known to be lost: a watchdog, one lock for global requests, one reason."""

from __future__ import annotations

import threading
import time

import paramiko

from agents.errors import AgentError, CommandFailed, ConnectionLost
from agents.ssh.target import JumpHost, Target
from agents.ssh.transport import DeviceTransport

ASK_EVERY_S = 5.0
SILENCE_S = 15.0
CHANNEL_OPEN_S = 30.0
CLOSED_HERE = "it was closed here"
_TICK_S = 1.0
# sshd gives the place of a channel that was just closed free a moment later.
_PLACE_FREE_WITHIN_S = 2.0
# How paramiko says that something did not reach the device.
LOST = (OSError, EOFError, paramiko.SSHException)


class Link:
    """Holds an authenticated transport, and the link to the jump host that carries it. Threads may share it.

    Two threads watch it: one asks the device every 5 s for an answer (and may block for ever in that), the
    other closes the transport when nothing at all was received for 15 s. Every waiting call then ends.
    """

    def __init__(self, target: Target, transport: DeviceTransport, through: Link | None = None) -> None:
        self.target = target
        self.transport = transport
        self._through = through
        self._reason = ""
        self.silent_s = 0.0
        self._ended = threading.Event()
        # paramiko has one event and one answer for all global requests of a transport.
        self.global_requests = threading.Lock()
        for work in (self._ask, self._watch):
            threading.Thread(target=work, name=f"watch {target.label}", daemon=True).start()

    def _ask(self) -> None:
        while not self._ended.wait(ASK_EVERY_S):
            try:
                with self.global_requests:
                    self.transport.global_request("keepalive@openssh.com", wait=True)
            except LOST as failure:
                self.drop(f"sending failed: {failure}")

    def _watch(self) -> None:
        heard, looked_at = -1, time.monotonic()
        while not self._ended.wait(_TICK_S):
            now = time.monotonic()
            # A tick never counts for more than two: when our own process stood still, the device is innocent.
            self.silent_s += min(now - looked_at, 2 * _TICK_S)
            looked_at = now
            if heard != self.transport.wire.heard_bytes:
                heard, self.silent_s = self.transport.wire.heard_bytes, 0.0
            if self.silent_s >= SILENCE_S:
                self._drop_silent()
            if not self.transport.is_active():
                self._ended.set()

    def _drop_silent(self) -> None:
        reason = f"it was silent for {SILENCE_S:.0f} s"
        # A living jump host answers every 5 s: when it did not lately, it is the one that is silent.
        if self._through is not None and self._through.silent_s > 2 * ASK_EVERY_S:
            self._through.drop(reason)
        self.drop(reason)

    @property
    def is_alive(self) -> bool:
        return self.transport.is_active()

    @property
    def has_failed(self) -> bool:
        """True when it was lost, not closed here. The exception comes before its channels are cut."""
        is_cut = not self.is_alive or self.transport.saved_exception is not None
        return is_cut and self._reason != CLOSED_HERE

    def lost(self) -> ConnectionLost:
        """Return the error that says that, and why, this connection is no more."""
        if self._through is not None and self._through.has_failed:
            return self._through.lost()
        failure = self.transport.saved_exception  # get_exception() forgets it
        reason = self._reason or (str(failure) if failure is not None else "")
        name = self.target.place if isinstance(self.target, JumpHost) else self.target.label
        return ConnectionLost(
            f"The connection to {name} was lost: {reason or f'{self.target.machine} closed it'}.",
            remedy=f"Check the network and {self.target.machine}. Hotfleet tries again by itself.",
        )

    def drop(self, reason: str) -> None:
        """End the connection for a reason. The first reason is kept."""
        self._reason = self._reason or reason
        self._ended.set()
        # The outer one first: where its network is gone, nothing could be said through it any more.
        if self._through is not None:
            self._through.close()
        self.transport.close()

    def close(self) -> None:
        """End the connection in order. May be called twice."""
        self.drop(CLOSED_HERE)

    def open_channel(self) -> paramiko.Channel:
        """Return a new session channel. Raise ConnectionLost, or CommandFailed when the device refuses it."""
        deadline = time.monotonic() + _PLACE_FREE_WITHIN_S
        while True:
            try:
                return self.transport.open_session(timeout=CHANNEL_OPEN_S)
            except LOST as failure:
                if not self.is_alive:
                    raise self.lost() from failure
                if time.monotonic() > deadline:
                    raise self._no_channel(failure) from failure
            self._ended.wait(0.1)

    def _no_channel(self, failure: Exception) -> AgentError:
        return CommandFailed(
            f"The device {self.target.label} opens no further session on this connection.",
            remedy="Set MaxSessions to 10 or more in /etc/ssh/sshd_config of the device, and reload sshd.",
            detail=str(failure),
        )
