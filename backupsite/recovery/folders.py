"""Paths inside of restore points, on their way through URLs, forms and the database: every byte survives."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict

from agents.commands import to_bytes, to_text
from agents.restic.trees import Node

LONGEST_PATH = 8192


def encode_path(path: str) -> str:
    """Given a path or a name, return its bytes in base64url without padding, for a URL or a form field."""
    return base64.urlsafe_b64encode(to_bytes(path)).decode().rstrip("=")


def decode_path(text: str) -> str:
    """Given what `encode_path` returned, return the path. Raise ValueError when it is something else."""
    if len(text) > LONGEST_PATH * 2:
        raise ValueError("the path is too long")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("the path is not encoded as this console does") from error
    path = to_text(data)
    if not path or "\0" in path:
        raise ValueError("the path is empty or holds a NUL byte")
    return path


def decode_folder(text: str) -> str:
    """Given an encoded folder, return it. Raise ValueError when it is not a plain absolute path."""
    path = decode_path(text)
    if not path.startswith("/") or any(part in (".", "..") for part in path.split("/")):
        raise ValueError("the folder is not a plain absolute path")
    return path if path == "/" else path.rstrip("/")


def folder_key(folder: str) -> str:
    """Given a folder, return the key of its listing."""
    return hashlib.sha256(to_bytes(folder)).hexdigest()


def join(folder: str, name: str) -> str:
    """Given a folder and a name in it, return the path."""
    return f"{folder.rstrip('/')}/{name}"


class StoredEntry(TypedDict):
    """An entry as it lies in the database: names and link targets encoded, since jsonb refuses some bytes."""

    n: str
    k: str
    s: int
    m: int
    t: str
    o: str
    l: str  # noqa: E741 - short keys: a listing may have 200,000 of them


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a folder, ready for a page. `name` keeps every byte: show it through `safe_text`."""

    name: str
    key: str
    kind: str
    size_bytes: int
    mode: int
    modified_at: datetime | None
    owner: str
    link_target: str

    @property
    def is_folder(self) -> bool:
        return self.kind == "dir"

    @property
    def is_file(self) -> bool:
        return self.kind == "file"


def store_entry(node: Node) -> StoredEntry:
    """Given a node of restic, return it for the database."""
    return {
        "n": encode_path(node.name),
        "k": node.kind,
        "s": node.size,
        "m": node.mode,
        "t": node.modified_at.isoformat() if node.modified_at is not None else "",
        "o": encode_path(f"{node.user or node.uid}:{node.group or node.gid}"),
        "l": encode_path(node.link_target) if node.link_target else "",
    }


def read_entry(stored: StoredEntry) -> Entry:
    """Given a stored entry, return it for a page."""
    return Entry(
        name=decode_path(stored["n"]),
        key=stored["n"],
        kind=stored["k"],
        size_bytes=stored["s"],
        mode=stored["m"],
        modified_at=datetime.fromisoformat(stored["t"]) if stored["t"] else None,
        owner=decode_path(stored["o"]),
        link_target=decode_path(stored["l"]) if stored["l"] else "",
    )
