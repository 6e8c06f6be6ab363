"""The contract that `ssh/` and `local.py` implement: an open way to one device. Protocols only."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from agents.commands import Command, Result


class Stream(Protocol):
    """A two-way byte stream: one connection of restic to the gateway, whatever carries it."""

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes, b"" at the end. Raise TimeoutError in time, OSError when cut."""
        ...

    def sendall(self, data: bytes) -> None:
        """Send everything. Raise OSError when the other side is gone."""
        ...

    def settimeout(self, seconds: float | None) -> None: ...

    def close(self) -> None:
        """Close both ways. May be called twice and from another thread."""
        ...


Serve = Callable[[Stream], None]


class Process(Protocol):
    """A program that runs on the device. Its stdin stays open until `close_stdin` or `close`."""

    def write(self, data: bytes) -> None:
        """Write to its stdin. Raise ConnectionLost when the way is cut or the program ended."""
        ...

    def close_stdin(self) -> None: ...

    def read(self, *, timeout_s: float) -> bytes:
        """Return some bytes of stdout, b"" at its end. Raise TimeoutError when nothing came in time and
        ConnectionLost when the way is cut. stderr is drained in the background meanwhile."""
        ...

    @property
    def stderr_tail(self) -> bytes:
        """The last 64 KiB of stderr so far."""
        ...

    def wait(self, *, timeout_s: float) -> int:
        """Return the exit status (128 + signal when killed). Raise TimeoutError, or ConnectionLost."""
        ...

    def close(self) -> None:
        """Close its channel. The program may live on; the runner's reaper ends it. May be called twice."""
        ...


class Door(Protocol):
    """Where restic on the device finds the gateway."""

    @property
    def repository_url(self) -> str:
        """The value for RESTIC_REPOSITORY without credentials: `rest:http://127.0.0.1:<port>/` over a tunnel,
        `rest:http+unix://<socket path>:/` on the console's own machine."""
        ...


class Session(Protocol):
    """An open, authenticated way to one device. Threads may share it. Never fork with one open."""

    @property
    def label(self) -> str:
        """How the log names the way, for example "root@10.0.0.5:22"."""
        ...

    @property
    def is_elevated(self) -> bool:
        """True when commands must go through `sudo -n` to be root."""
        ...

    def run(self, command: Command, *, timeout_s: float, limit_bytes: int = 4 * 1024 * 1024) -> Result:
        """Run a command as the session's own user to its end. The status is not judged here.

        Raise TimeoutError, ConnectionLost, or ProtocolBroken when it printed more than `limit_bytes`."""
        ...

    def start(self, command: Command) -> Process:
        """Start a command as the session's own user and return at once."""
        ...

    def open_door(self, serve: Serve) -> AbstractContextManager[Door]:
        """Open a way from the device back to us; each connection is handed to `serve` in a thread of its own
        (at most 16 at once). Closed with the context. Raise ForwardingRefused when the device forbids it."""
        ...

    def close(self) -> None:
        """Close everything. May be called twice."""
        ...
