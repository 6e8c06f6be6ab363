"""What the tests of the gateway and of restic stand on: a repository's directory, a gateway, ways into it."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agents.commands import Secret
from agents.gateway import Credentials, Gateway, Journal, KeyFile, LocalStore, Rights, Store, Timeouts
from agents.restic.binary import Binary, find_binary
from agents.restic.repository import create

PASSWORD = Secret("of the console, as long as a random one")
RECOVERY = Secret("of the recovery kit")
CREDENTIALS = Credentials("run-1", Secret("open sesame"))
FOLDERS = ("keys", "locks", "snapshots", "index", "data")


class SocketStream:
    """A connected socket as the gateway's stream."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.recv = connection.recv
        self.sendall = connection.sendall
        self.settimeout = connection.settimeout

    def close(self) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Speaks raw bytes with one gateway over one connection."""

    def __init__(self, gateway: Gateway) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(20)
        self._thread = threading.Thread(target=gateway.serve, args=(SocketStream(theirs),), daemon=True)
        self._thread.start()
        self._rest = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, method: str, target: str | bytes, body: bytes | None = None, **headers: str) -> Answer:
        """Send one whole request with the right credentials and return the answer."""
        self.send(request(method, target, body, **headers))
        return self.read(has_body=method != "HEAD")

    def read(self, *, has_body: bool = True) -> Answer:
        while b"\r\n\r\n" not in self._rest:
            self._receive()
        head, self._rest = self._rest.split(b"\r\n\r\n", 1)
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        body = self._read_body(headers) if has_body else b""
        return Answer(int(first.split()[1]), headers, body)

    def is_ended(self) -> bool:
        """Wait until the gateway closes the connection."""
        return self._rest == b"" and self.socket.recv(1) == b""

    def close(self) -> None:
        self.socket.close()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the gateway closed the connection")
        self._rest += data

    def _read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._read_until(b"\r\n"), 16):
                body += self._take(size)
                self._take(2)
            self._take(2)
            return body
        return self._take(int(headers.get("content-length", "0")))

    def _read_until(self, end: bytes) -> bytes:
        while end not in self._rest:
            self._receive()
        line, self._rest = self._rest.split(end, 1)
        return line

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._receive()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def request(method: str, target: str | bytes, body: bytes | None = None, **headers: str) -> bytes:
    """Return one request as bytes, with the right credentials unless `Authorization` is given."""
    pair = f"{CREDENTIALS.user}:{CREDENTIALS.password.reveal()}".encode()
    fields = {"Host": "gateway", "Authorization": "Basic " + base64.b64encode(pair).decode()}
    if body is not None:
        fields["Content-Length"] = str(len(body))
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    raw = target.encode() if isinstance(target, str) else target
    return method.encode() + b" " + raw + b" HTTP/1.1\r\n" + lines.encode() + b"\r\n" + (body or b"")


def name_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Ground:
    """A repository's directory with nothing real in it, and gateways to it."""

    root: Path
    journal: Path
    _opened: list[tuple[Gateway, Journal]] = field(default_factory=list)

    def gateway(
        self,
        *,
        rights: Rights = Rights.BACKUP,
        store: Store | None = None,
        run_key: KeyFile | None = None,
        is_current: Callable[[], bool] = lambda: True,
        timeouts: Timeouts | None = None,
    ) -> Gateway:
        journal = Journal(self.journal)
        gateway = Gateway(
            store or LocalStore(self.root),
            CREDENTIALS,
            rights=rights,
            journal=journal,
            run_key=run_key,
            is_current=is_current,
            timeouts=timeouts,
        )
        self._opened.append((gateway, journal))
        return gateway

    def client(self, **options: Any) -> Client:
        return Client(self.gateway(**options))

    def files(self) -> set[str]:
        """Every file below the repository, temporary ones too."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}

    def close(self) -> None:
        for gateway, journal in self._opened:
            gateway.close()
            journal.close()


def make_layout(root: Path) -> Path:
    """Make the directories of a repository and a file in place of its config."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    (root / "config").write_bytes(b"a config")
    return root


@pytest.fixture
def small_disk(needs_root: None, tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "gateway-test", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(make_layout(tmp_path / "repository"), tmp_path / "journal")
    yield made
    made.close()


@pytest.fixture(scope="session")
def binary() -> Binary:
    """The real restic, which `script/setup` finds or fetches."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("restic", path=path)
    if found is None:
        pytest.fail("restic is not installed: run script/setup")
    return find_binary([Path(found)])


_templates: dict[Path, Path] = {}


@pytest.fixture(scope="session")
def _template(binary: Binary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One repository for all modules: making one takes seconds of key derivation."""
    if binary.path not in _templates:
        path = tmp_path_factory.mktemp("template") / "repository"
        create(path, PASSWORD, RECOVERY, binary)
        _templates[binary.path] = path
    return _templates[binary.path]


@pytest.fixture
def repository_path(_template: Path, tmp_path: Path) -> Path:
    """A fresh real repository."""
    return Path(shutil.copytree(_template, tmp_path / "repository"))


@contextmanager
def loopback(gateway: Gateway) -> Iterator[str]:
    """Hand connections on a loopback port to the gateway; return the repository's URL for restic."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, gateway), daemon=True).start()
        yield f"rest:http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def unix_socket(gateway: Gateway, path: Path) -> Iterator[str]:
    """The same on a unix socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_accept, args=(listener, gateway), daemon=True).start()
        yield f"rest:http+unix://{path}:/"
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, gateway: Gateway) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=gateway.serve, args=(SocketStream(connection),), daemon=True).start()
