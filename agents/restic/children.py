"""restic as a child of this process: killed with it, nice, in an environment made from nothing.

The kernel ties the parent-death signal to the THREAD that starts the child: a child of a thread that ends
early dies with it. So each child is started, read and awaited by one thread.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import IO

from agents.commands import Command, Result, Secret, to_bytes
from agents.errors import ProtocolBroken, ResticFailed, ToolMissing
from agents.restic.outcomes import judge

_PREFIX = ("setpriv", "--pdeathsig", "KILL", "--", "nice", "-n", "10", "--")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PIECE = 256 * 1024


class PrintedTooMuch(ProtocolBroken):
    """restic's output is longer than anybody wants to read."""


Variables = Mapping[str, str | Secret]
# Told of what a child printed since it was told last, several times a second; what it raises ends the child.
Watch = Callable[[bytes], None]


def run(
    command: Command,
    variables: Variables,
    *,
    timeout_s: float,
    limit_bytes: int = 64 * 1024 * 1024,
    watch: Watch | None = None,
    tail_bytes: int = 4000,
    folder: Path | None = None,
) -> Result:
    """Run restic to its end and return how it ended; the status is not judged. Of what it says on stderr the
    last `tail_bytes` are kept. `folder` is where it works: a repair leaves copies of files there.

    Raise ResticFailed when it takes too long, PrintedTooMuch when it prints more than `limit_bytes`.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = _start(command, variables, stdout=stdout, stderr=stderr, folder=folder)
        try:
            status = _wait(child, stdout, began + timeout_s, limit_bytes, watch)
        except subprocess.TimeoutExpired as error:
            raise ResticFailed(f"restic took more than {timeout_s:.0f} seconds") from error
        finally:
            _end(child)
        stdout.seek(0)
        seconds = time.monotonic() - began
        return Result(command, _shell_status(status), stdout.read(), _tail(stderr, tail_bytes), seconds)


def _wait(
    child: subprocess.Popen[bytes],
    stdout: IO[bytes],
    deadline: float,
    limit_bytes: int,
    watch: Watch | None = None,
) -> int:
    """Return the child's status. What a device stored decides how much restic prints: it must not fill our
    disk until the child ends. Raise TimeoutExpired at the deadline, PrintedTooMuch over the limit."""
    pause_s, told = 0.005, 0
    while True:
        left_s = deadline - time.monotonic()
        try:
            status = child.wait(min(pause_s, max(left_s, 0)))
        except subprocess.TimeoutExpired:
            if left_s <= 0:
                raise
            status, pause_s = None, min(pause_s * 2, 0.25)
        if os.fstat(stdout.fileno()).st_size > limit_bytes:
            raise PrintedTooMuch(f"restic printed more than {limit_bytes} bytes")
        if watch is not None:
            said = os.pread(stdout.fileno(), limit_bytes, told)
            told += len(said)
            watch(said)
        if status is not None:
            return status


def stream(command: Command, variables: Variables) -> Generator[bytes, None, None]:
    """Run restic and return what it prints, piece by piece. Closing the iterator kills it.

    Raise what `judge` says at the end when restic failed: whoever passes the pieces on must then cut its own
    answer, because a part of a file must not look like the whole.
    """
    with tempfile.TemporaryFile() as stderr:
        child = _start(command, variables, stdout=subprocess.PIPE, stderr=stderr)
        try:
            while child.stdout is not None and (piece := os.read(child.stdout.fileno(), _PIECE)):
                yield piece
            status = child.wait()
        finally:
            _end(child)
        judge(_shell_status(status), _tail(stderr).decode(errors="replace"))


def _start(
    command: Command,
    variables: Variables,
    *,
    stdout: IO[bytes] | int,
    stderr: IO[bytes],
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    revealed = {
        name: value.reveal() if isinstance(value, Secret) else value for name, value in variables.items()
    }
    words = [to_bytes(word) for word in (*_PREFIX, *command.argv)]
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env={"PATH": _PATH, "HOME": "/nonexistent", **revealed},
            start_new_session=True,
            cwd=folder,
        )
    except FileNotFoundError as error:
        raise ToolMissing("setpriv (util-linux) is missing on the console") from error


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _shell_status(status: int) -> int:
    return 128 - status if status < 0 else status


def _tail(file: IO[bytes], tail_bytes: int = 4000) -> bytes:
    end = file.seek(0, 2)
    file.seek(max(0, end - tail_bytes))
    return file.read()
