"""The console's own machine as a device: the same contract without SSH. Implements agents.session."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from pwd import getpwuid

from agents.attendants import MOST_AT_ONCE, Attendants
from agents.commands import Command, Result
from agents.errors import ForwardingRefused
from agents.local_process import LocalProcess, Spawner
from agents.privileges import needs_sudo
from agents.running import run_to_end, stdin_bytes
from agents.session import Door, Serve

_QUESTION_S = 30.0


class LocalSession:
    """This machine. Threads may share it. Never fork with one open."""

    def __init__(self) -> None:
        """Find out who we are. Raise PrivilegeMissing, with the rule to add, when we cannot become root."""
        self._user = getpwuid(os.geteuid()).pw_name
        self._spawner = Spawner(self._user)
        try:
            self._is_elevated = needs_sudo(
                lambda command: self.run(command, timeout_s=_QUESTION_S), self._user
            )
        except BaseException:
            self._spawner.close()
            raise

    @property
    def label(self) -> str:
        return f"{self._user} on this machine"

    @property
    def is_elevated(self) -> bool:
        return self._is_elevated

    def run(self, command: Command, *, timeout_s: float, limit_bytes: int = 4 * 1024 * 1024) -> Result:
        process = LocalProcess(self._spawner.start(command.argv))
        try:
            return run_to_end(process, command, timeout_s=timeout_s, limit_bytes=limit_bytes)
        except BaseException:
            process.kill()
            raise

    def start(self, command: Command) -> LocalProcess:
        process = LocalProcess(self._spawner.start(command.argv))
        try:
            process.write(stdin_bytes(command.stdin))
        except BaseException:
            process.kill()
            process.close()
            raise
        return process

    def open_door(self, serve: Serve) -> AbstractContextManager[Door]:
        return open_door(serve)

    def close(self) -> None:
        self._spawner.close()


@dataclass(frozen=True)
class LocalDoor:
    """Implements agents.session.Door."""

    path: Path

    @property
    def repository_url(self) -> str:
        return f"rest:http+unix://{self.path}:/"


class SocketStream:
    """One connection of restic. Implements agents.session.Stream."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._receiving = threading.Lock()
        self._sending = threading.Lock()

    def recv(self, size: int) -> bytes:
        with self._receiving:
            return self._socket.recv(size)

    def sendall(self, data: bytes) -> None:
        with self._sending:
            self._socket.sendall(data)

    def settimeout(self, seconds: float | None) -> None:
        self._socket.settimeout(seconds)

    def close(self) -> None:
        # shutdown() wakes whoever waits; close() only then, or its number could already be another file's.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with self._receiving, self._sending:
            self._socket.close()


@contextlib.contextmanager
def open_door(serve: Serve) -> Iterator[LocalDoor]:
    """Open a door for programs of this user here. Raise ForwardingRefused when there is no place for it."""
    attendants = Attendants(serve)
    folder = tempfile.mkdtemp(prefix="hotfleet-door-", dir=_door_place())  # mkdtemp makes it 0700
    door = LocalDoor(Path(folder) / "socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    closing = threading.Event()
    thread = threading.Thread(target=_accept, args=(listener, attendants, closing), name="door", daemon=True)
    try:
        listener.bind(str(door.path))
        listener.listen(MOST_AT_ONCE)
        thread.start()
        yield door
    finally:
        closing.set()
        with contextlib.suppress(OSError):  # wakes accept(); says "not connected" when it never listened
            listener.shutdown(socket.SHUT_RDWR)
        if thread.ident is not None:
            thread.join()
        listener.close()
        shutil.rmtree(folder)
        attendants.close()


def _accept(listener: socket.socket, attendants: Attendants, closing: threading.Event) -> None:
    while not closing.is_set():
        try:
            connection, _ = listener.accept()
        except OSError:
            # Shut down, or (rarely) out of descriptors: restic tries again, so do we.
            closing.wait(0.1)
            continue
        stream = SocketStream(connection)
        if not attendants.take(stream):
            stream.close()


def _door_place() -> str:
    """Return a folder for the socket. /run first: a snapshot that is mounted over /tmp must not hide it, and
    the path of a socket has at most 107 bytes."""
    for place in ("/run", os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        if place and len(place) < 70 and os.access(place, os.W_OK | os.X_OK):
            return place
    raise ForwardingRefused(
        "There is no folder for the socket through which restic reaches the repository.",
        remedy="Make /run or the folder in XDG_RUNTIME_DIR writable for the console's user.",
    )
