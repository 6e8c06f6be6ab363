"""A real server of an object store for tests: `rclone serve s3` on loopback, over a directory."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.commands import Secret
from agents.gateway.objects_account import Account, ObjectKind

KEY, SECRET, BUCKET = "hotfleet", "a secret of the test", "backups"


@dataclass(frozen=True)
class ObjectServer:
    """A running server. `root` is the directory in which its bucket lies."""

    endpoint: str
    root: Path
    process: subprocess.Popen[bytes]

    def account(self, *, secret: str = SECRET, bucket: str = BUCKET, prefix: str = "fleet") -> Account:
        return Account(ObjectKind.S3, bucket, Secret(secret), KEY, self.endpoint, "us-east-1", prefix)

    def files(self) -> list[Path]:
        """What its bucket holds, as it lies on its disk."""
        return sorted(each for each in (self.root / BUCKET).rglob("*") if each.is_file())

    def stop(self) -> None:
        """End the server, and no other process. May be called twice."""
        self.process.kill()
        self.process.wait(60)


@contextmanager
def serve_objects(root: Path) -> Iterator[ObjectServer]:
    """Serve a directory, with one bucket in it, until the context ends."""
    (root / BUCKET).mkdir(parents=True)
    server = start_server(root, _free_port())
    try:
        yield server
    finally:
        server.stop()


def start_server(root: Path, port: int) -> ObjectServer:
    """Start a server and wait until it answers."""
    program = Path(sys.executable).with_name("rclone")
    words: list[str | Path] = [
        program,
        "serve",
        "s3",
        root,
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        f"{KEY},{SECRET}",
    ]
    words += ["--config", "/dev/null", "--vfs-cache-mode", "off"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return ObjectServer(f"http://127.0.0.1:{port}", root, process)
        time.sleep(0.05)
    process.kill()
    process.wait(60)
    raise AssertionError("the server of the object store does not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
