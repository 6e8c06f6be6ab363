"""Subvolumes and space of a btrfs file system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from agents.commands import Command, to_text
from agents.errors import ProtocolBroken
from agents.facts.mounts import Mount, is_within

_SUBVOLUME = re.compile(
    r"^ID (\d{1,20}) gen \d+ parent (\d{1,20}) top level \d+ parent_uuid (-|[0-9a-f-]{36}) +path (.+)$"
)
_READ_ONLY = re.compile(r"^ID (\d{1,20}) gen \d+ top level \d+ path .+$")
_SIZE = re.compile(r"^\s+(Device unallocated|Free \(estimated\)):\s+(\d{1,20})\b", re.MULTILINE)
# Without -a a path is relative to the mounted subvolume or to the top level, and nothing tells which. With it
# all are from the top level, some with this mark.
_OUTSIDE = "<FS_TREE>/"
TOP_LEVEL_ID = 5
_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Subvolume:
    """`path` is absolute within its file system, "/" for the top level."""

    number: int
    parent: int
    path: str
    is_read_only: bool = False
    is_snapshot: bool = False

    @property
    def is_history(self) -> bool:
        """A read-only snapshot of another subvolume, as snapper keeps hundreds of."""
        return self.is_read_only and self.is_snapshot


@dataclass(frozen=True, slots=True)
class BtrfsFacts:
    """One btrfs. `device` is the "major:minor" of its mounts."""

    device: str
    subvolumes: tuple[Subvolume, ...]
    unallocated_bytes: int
    free_bytes: int


def subvolumes_command(mount_point: str) -> Command:
    return Command.of("btrfs", "subvolume", "list", "-a", "-p", "-q", "--", mount_point)


def read_only_command(mount_point: str) -> Command:
    return Command.of("btrfs", "subvolume", "list", "-a", "-r", "--", mount_point)


def usage_command(mount_point: str) -> Command:
    return Command.of("btrfs", "filesystem", "usage", "-b", "--", mount_point)


def parse_subvolumes(output: bytes, read_only_output: bytes) -> tuple[Subvolume, ...]:
    """Given `btrfs subvolume list -a` with -p -q and with -r, return the subvolumes with the top level first.

    Raise ProtocolBroken when a line is another one (btrfs does not escape a newline in a name)."""
    read_only = {match[1] for match in _match_lines(_READ_ONLY, read_only_output)}
    found = [Subvolume(TOP_LEVEL_ID, 0, "/")]
    for match in _match_lines(_SUBVOLUME, output):
        number, parent, origin, path = match.groups()
        path = "/" + path.removeprefix(_OUTSIDE)
        found.append(Subvolume(int(number), int(parent), path, number in read_only, origin != "-"))
    return tuple(found)


def _match_lines(pattern: re.Pattern[str], output: bytes) -> Iterator[re.Match[str]]:
    lines = to_text(output).split("\n")
    if len(lines) > _LIMIT:
        raise ProtocolBroken("the list of subvolumes is endless")
    for line in filter(None, lines):
        match = pattern.match(line)
        if match is None:
            raise ProtocolBroken("a line is not one of btrfs subvolume list", detail=repr(line[:300]))
        yield match


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
