"""The record of every file that one run put into a repository, readable after any crash."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from agents.errors import ProtocolBroken
from agents.gateway.store import StoreFailed
from agents.gateway.target import Kind, is_name

_BROKEN = b'{"broken": '


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that the run made."""

    kind: Kind
    name: str
    size: int


class Journal:
    """JSON lines that only grow. Threads may share it. Use as a context manager or close it."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal; cut off a line that a crash tore. Raise StoreFailed when it cannot."""
        self._mutex = threading.Lock()
        try:
            self._fd = _open_for_growth(path)
        except OSError as error:
            raise StoreFailed.of(error) from error

    def add(self, entry: Entry, *, durable: bool) -> None:
        """Write one entry; when `durable`, return only after it and all before it are on the disk.

        Raise OSError when it could not be written whole: then the file must not be acknowledged.
        """
        record = {"kind": entry.kind.value, "name": entry.name, "size": entry.size}
        self._append(json.dumps(record).encode() + b"\n")
        if durable:
            os.fsync(self._fd)

    def condemn(self, rule: str) -> None:
        """Write, durably, that the run broke a rule: none of its files may be adopted. Raise OSError."""
        line = json.dumps({"broken": rule[:1000]}).encode() + b"\n"
        self._append(line)
        os.fsync(self._fd)

    def _append(self, line: bytes) -> None:
        with self._mutex:
            end = os.fstat(self._fd).st_size
            if os.write(self._fd, line) != len(line):
                os.ftruncate(self._fd, end)
                raise OSError("the journal took only a part of a line")

    def close(self) -> None:
        """Make everything durable and close. May be called twice."""
        with self._mutex:
            if self._fd >= 0:
                os.fsync(self._fd)
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journal(path: Path) -> tuple[Entry, ...]:
    """Given a journal's path, return its entries, oldest first. A torn last line is left out.

    Return nothing when the file is missing (the run made none). Raise ProtocolBroken when a whole line
    is not an entry: then nobody knows what the run made.
    """
    return tuple(_parse(line, path) for line in _lines(path) if not line.startswith(_BROKEN))


def read_broken_rule(path: Path) -> str:
    """Given a journal's path, return the rule that its run broke, "" when it broke none."""
    for line in _lines(path):
        if line.startswith(_BROKEN):
            return str(json.loads(line)["broken"])
    return ""


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []


def _open_for_growth(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, path.read_bytes().rfind(b"\n") + 1)
        folder = os.open(path.parent, os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        os.close(fd)
        raise
    return fd


def _parse(line: bytes, path: Path) -> Entry:
    try:
        record = json.loads(line)
        entry = Entry(Kind(record["kind"]), str(record["name"]), int(record["size"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ProtocolBroken(f"the journal {path.name} of a run is damaged", detail=repr(line)) from error
    if not is_name(entry.name) or entry.size < 0:
        raise ProtocolBroken(f"the journal {path.name} of a run is damaged", detail=repr(line))
    return entry
