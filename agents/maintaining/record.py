"""The record: when each file of a repository was last read and found whole, kept beside the repository.

Losing it costs one reading of everything: what is not in it was never read. No clock but this machine's is in
it, and no name that a device chose: files are named by the hash of their content.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agents.gateway.target import Kind, Target

_ENTRY = struct.Struct(">B32sII")
_KINDS = (Kind.KEYS, Kind.SNAPSHOTS, Kind.INDEX, Kind.DATA)
_MAGIC = b"hotfleet read 1\n"


@dataclass(slots=True)
class Seen:
    """Seconds since 1970: when a file was first met, and when it was last read whole (0: never)."""

    first_s: int
    read_s: int = 0


class Record:
    """All files of one repository that were ever met: 41 bytes of disk a file, some 300 of memory, so that a
    repository of 1 TB takes about 20 MB."""

    def __init__(self, path: Path) -> None:
        """Load it; a record that is missing or torn is an empty one."""
        self._path = path
        self._seen: dict[tuple[int, bytes], Seen] = {}
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return
        body = content.removeprefix(_MAGIC)
        if len(body) == len(content) or len(body) % _ENTRY.size:
            return
        for kind, name, first_s, read_s in _ENTRY.iter_unpack(body):
            self._seen[kind, name] = Seen(first_s, read_s)

    def meet(self, targets: Iterable[Target], now_s: int) -> None:
        """Note the files that exist now: what is new was first met now, what is gone is forgotten."""
        known, self._seen = self._seen, {}
        for target in targets:
            key = _key(target)
            self._seen[key] = known.get(key) or Seen(now_s)

    def of(self, target: Target) -> Seen:
        """Return what is known of a file that was met. Raise KeyError for another."""
        return self._seen[_key(target)]

    def save(self) -> None:
        """Write it whole, then in place of the old one."""
        draft = self._path.with_name(f"{self._path.name}.new")
        with draft.open("wb") as file:
            file.write(_MAGIC)
            for (kind, name), seen in self._seen.items():
                file.write(_ENTRY.pack(kind, name, seen.first_s, seen.read_s))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._path)


def _key(target: Target) -> tuple[int, bytes]:
    return _KINDS.index(target.kind), bytes.fromhex(target.name or "")
