"""Programs and byte streams on the channels of a connection.

A channel has one timeout for both ways, so that a thread that reads for 5 s would shorten another's write.
Here it is a constant short one, and each call keeps its own time.
"""

from __future__ import annotations

import contextlib
import threading
import time

import paramiko

from agents.commands import Command
from agents.errors import ConnectionLost
from agents.ssh.link import LOST, Link
from agents.ssh.noise import Mark, NoiseFilter
from agents.tail import Tail

_POLL_S = 0.25
_PIECE_BYTES = 32768
EXEC_ANSWER_S = 30.0
# A program that takes no input for so long hangs, and the caller with it.
WRITE_STALL_S = 60.0


def close_channel(channel: paramiko.Channel) -> None:
    """Close a channel. Where the connection is gone already, there is nobody to tell."""
    with contextlib.suppress(*LOST):
        channel.close()


class SshProcess:
    """A program on the device. Implements agents.session.Process."""

    def __init__(self, link: Link, channel: paramiko.Channel, mark: Mark) -> None:
        self._link = link
        self._channel = channel
        self._noise = NoiseFilter(mark, link.target.label)
        self._tail = Tail()
        self._is_closed = False
        self._was_over = False
        channel.settimeout(_POLL_S)
        self._drainer = threading.Thread(target=self._drain, name="stderr", daemon=True)

    def exec(self, command: Command, mark: Mark) -> None:
        """Start the command. Raise ConnectionLost when the device does not confirm it in time."""
        # exec_command waits without a limit; setting its event makes it look, and raise.
        impatience = threading.Timer(EXEC_ANSWER_S, self._channel.event.set)
        impatience.daemon = True
        impatience.start()
        try:
            self._channel.exec_command(mark.line(command))
        except LOST as failure:
            self.close()
            raise self._lost("the device did not start the command") from failure
        finally:
            impatience.cancel()
        self._drainer.start()

    def _drain(self) -> None:
        while True:
            try:
                data = self._channel.recv_stderr(_PIECE_BYTES)
            except TimeoutError:
                continue
            except LOST:
                return  # said by whoever reads stdout or waits
            if not data:
                return
            self._tail.add(data)

    def _lost(self, reason: str) -> ConnectionLost:
        if self._link.is_alive:
            return ConnectionLost(f"A command on {self._link.target.label} was cut off: {reason}.")
        return self._link.lost()

    def write(self, data: bytes) -> None:
        sent, progress_at = 0, time.monotonic()
        while sent < len(data):
            try:
                count = self._channel.send(data[sent : sent + _PIECE_BYTES])
            except TimeoutError:
                if time.monotonic() - progress_at > WRITE_STALL_S:
                    raise self._lost("it takes no input") from None
                continue
            except LOST as failure:
                raise self._lost("it ended, or its input was closed") from failure
            if count == 0:
                raise self._lost("it ended")
            sent, progress_at = sent + count, time.monotonic()

    def close_stdin(self) -> None:
        try:
            self._channel.shutdown_write()
        except LOST as failure:
            raise self._lost("its input could not be closed") from failure

    def read(self, *, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while data := self._receive(deadline):
            if wanted := self._noise.strip(data):
                return wanted
        if not self._noise.is_over:
            self._drainer.join(1.0)  # what sshd says in the place of a shell
            self._noise.check_end(self._tail.kept())
        return b""

    def _receive(self, deadline: float) -> bytes:
        while True:
            try:
                data = self._channel.recv(_PIECE_BYTES)
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise TimeoutError("the command printed nothing in time") from None
                continue
            except LOST as failure:
                raise self._lost("it cannot be read") from failure
            if not data and not self._ended_in_order():
                raise self._lost("it was closed here")
            return data

    def _ended_in_order(self) -> bool:
        # A program that is closed here often says "end of file" a moment later, which is no end in order.
        if self._is_closed:
            return self._was_over
        return bool(self._channel.eof_received) or self._link.is_alive

    @property
    def stderr_tail(self) -> bytes:
        return self._tail.kept()

    def wait(self, *, timeout_s: float) -> int:
        if not self._channel.status_event.wait(timeout_s):
            raise TimeoutError("the command did not end in time")
        if self._channel.exit_status < 0:
            raise self._lost("it ended without a status")
        self._drainer.join(1.0)  # the last words on stderr may come after the status
        return self._channel.exit_status

    def close(self) -> None:
        if not self._is_closed:
            self._was_over = bool(self._channel.eof_received)
            self._is_closed = True
        close_channel(self._channel)


class ChannelStream:
    """One connection through the tunnel. Implements agents.session.Stream."""

    def __init__(self, link: Link, channel: paramiko.Channel) -> None:
        self._link = link
        self._channel = channel

    def recv(self, size: int) -> bytes:
        try:
            data = self._channel.recv(size)
        except (EOFError, paramiko.SSHException) as failure:
            raise ConnectionResetError("the tunnel was cut") from failure
        if not data and not self._channel.eof_received and (self._channel.closed or not self._link.is_alive):
            raise ConnectionResetError("the tunnel was cut")
        return data

    def sendall(self, data: bytes) -> None:
        # Not Channel.sendall(): it copies the whole rest of the data for each packet.
        sent = 0
        try:
            while sent < len(data):
                count = self._channel.send(data[sent : sent + _PIECE_BYTES])
                if count == 0:
                    raise ConnectionResetError("the tunnel was cut")
                sent += count
        except (EOFError, paramiko.SSHException) as failure:
            raise ConnectionResetError("the tunnel was cut") from failure

    def settimeout(self, seconds: float | None) -> None:
        self._channel.settimeout(seconds)

    def close(self) -> None:
        close_channel(self._channel)
