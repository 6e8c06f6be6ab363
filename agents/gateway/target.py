"""What a request may name. The whole grammar of paths, checked on the raw bytes before any decoding."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of files in a restic repository; the value is the folder's name."""

    ROOT = ""
    CONFIG = "config"
    KEYS = "keys"
    LOCKS = "locks"
    SNAPSHOTS = "snapshots"
    INDEX = "index"
    DATA = "data"


FOLDERS = (Kind.KEYS, Kind.LOCKS, Kind.SNAPSHOTS, Kind.INDEX, Kind.DATA)

_NAME = re.compile(r"[0-9a-f]{64}")
_TARGET = re.compile(rb"/(?:(config)|(keys|locks|snapshots|index|data)/([0-9a-f]{64})?)?")


@dataclass(frozen=True, slots=True)
class Target:
    """One file (`name` is its SHA-256 in hex, or "" for the config) or one whole folder (`name` is None)."""

    kind: Kind
    name: str | None = None

    @property
    def is_folder(self) -> bool:
        return self.name is None

    def __str__(self) -> str:
        if self.kind in (Kind.ROOT, Kind.CONFIG):
            return f"/{self.kind}"
        return f"/{self.kind}/{self.name or ''}"


def parse_target(raw: bytes) -> Target | None:
    """Given the target of a request as it came, return what it names, or None when it names nothing of ours.

    Nothing is decoded, normalised or trimmed: a query, an escape, an upper-case letter is not ours.
    """
    match = _TARGET.fullmatch(raw)
    if match is None:
        return None
    config, folder, name = match.groups()
    if config is not None:
        return Target(Kind.CONFIG, "")
    if folder is None:
        return Target(Kind.ROOT)
    return Target(Kind(folder.decode()), None if name is None else name.decode())


def is_name(text: str) -> bool:
    """Given a file name, return whether restic would have made it (the SHA-256 of a content, in hex)."""
    return _NAME.fullmatch(text) is not None
