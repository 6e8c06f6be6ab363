"""Subvolumes and space of a btrfs file system."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.commands import Command, to_text
from agents.errors import ProtocolBroken
from agents.facts.mounts import Mount, is_within

_SUBVOLUME = re.compile(r"^ID (\d{1,20}) gen \d+ parent (\d{1,20}) top level \d+ path (.+)$")
_SIZE = re.compile(r"^\s+(Device unallocated|Free \(estimated\)):\s+(\d{1,20})\b", re.MULTILINE)
TOP_LEVEL_ID = 5
_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Subvolume:
    """`path` is absolute within its file system, "/" for the top level."""

    number: int
    parent: int
    path: str


@dataclass(frozen=True, slots=True)
class BtrfsFacts:
    """One btrfs. `device` is the "major:minor" of its mounts."""

    device: str
    subvolumes: tuple[Subvolume, ...]
    unallocated_bytes: int
    free_bytes: int


def subvolumes_command(mount_point: str) -> Command:
    return Command.of("btrfs", "subvolume", "list", "-p", "--", mount_point)


def usage_command(mount_point: str) -> Command:
    return Command.of("btrfs", "filesystem", "usage", "-b", "--", mount_point)


def parse_subvolumes(output: bytes) -> tuple[Subvolume, ...]:
    """Given `btrfs subvolume list -p`, return the subvolumes with the top level first.

    Raise ProtocolBroken when a line is another one (btrfs does not escape a newline in a name)."""
    found = [Subvolume(TOP_LEVEL_ID, 0, "/")]
    for line in to_text(output).split("\n")[:_LIMIT]:
        if not line:
            continue
        match = _SUBVOLUME.match(line)
        if match is None:
            raise ProtocolBroken("a line is not one of btrfs subvolume list", detail=repr(line[:300]))
        found.append(Subvolume(int(match[1]), int(match[2]), "/" + match[3]))
    return tuple(found)


def parse_usage(output: bytes) -> tuple[int, int]:
    """Given `btrfs filesystem usage -b`, return (unallocated, free) bytes. Raise ProtocolBroken else."""
    sizes = {match[1]: int(match[2]) for match in _SIZE.finditer(to_text(output))}
    if len(sizes) != 2:
        raise ProtocolBroken("btrfs does not tell its free space", detail=repr(output[:300]))
    return sizes["Device unallocated"], sizes["Free (estimated)"]


def path_in_file_system(path: str, mount: Mount) -> str:
    """Given a path and the mount that holds it, return the path within the file system."""
    relative = path[len(mount.point.rstrip("/")) :]
    return (mount.root.rstrip("/") + relative) or "/"


def path_on_device(inner: str, mount: Mount) -> str | None:
    """Given a path within a file system, return where `mount` shows it, or None."""
    if not is_within(inner, mount.root):
        return None
    relative = inner[len(mount.root.rstrip("/")) :]
    return (mount.point.rstrip("/") + relative).rstrip("/") or "/"


def find_subvolume(inner: str, facts: BtrfsFacts) -> Subvolume:
    """Given a path within a btrfs, return the subvolume that holds it."""
    holders = [each for each in facts.subvolumes if is_within(inner, each.path)]
    return max(holders, key=lambda each: len(each.path))
