"""Subvolumes and space of a btrfs file system."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.commands import Command, to_text
from agents.errors import ProtocolBroken
from agents.facts.mounts import Mount, is_within

_SUBVOLUME = re.compile(
    r"^ID (\d{1,20}) gen \d+ parent (\d{1,20}) top level \d+ parent_uuid (-|[0-9a-f-]{36}) +path (.*)$"
)
_READ_ONLY = re.compile(r"^ID (\d{1,20}) gen \d+ top level \d+ path (.*)$")
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

    Any user may put a newline into the name of a subvolume, and btrfs does not escape it: what follows may
    look like another line. No text fits both lists: each read-only one must have the path of the other list.
    Raise ProtocolBroken when they do not fit, also when one was made or removed in between."""
    rows = _read_rows(output)
    read_only = _read_numbers(read_only_output, {number: path for number, _, _, path in rows})
    found = [Subvolume(TOP_LEVEL_ID, 0, "/")]
    for number, parent, origin, path in rows:
        path = "/" + path.removeprefix(_OUTSIDE)
        found.append(Subvolume(int(number), int(parent), path, number in read_only, origin != "-"))
    return tuple(found)


def _read_rows(output: bytes) -> list[tuple[str, str, str, str]]:
    """Return number, parent, origin and path of each; a line that starts no row goes on with a path."""
    rows: list[tuple[str, str, str, str]] = []
    for line in _split_lines(output):
        match = _SUBVOLUME.match(line)
        if match is not None:
            rows.append((match[1], match[2], match[3], match[4]))
        elif rows:
            rows[-1] = (*rows[-1][:3], f"{rows[-1][3]}\n{line}")
        else:
            raise ProtocolBroken("a line is not one of btrfs subvolume list", detail=repr(line[:300]))
    return rows


def _read_numbers(output: bytes, paths: dict[str, str]) -> set[str]:
    """Given the read-only list and the path of each number, return the numbers in it."""
    numbers: set[str] = set()
    lines = _split_lines(output)
    at = 0
    while at < len(lines):
        match = _READ_ONLY.match(lines[at])
        path = paths.get(match[1]) if match is not None else None
        size = 1 if path is None else path.count("\n") + 1
        if match is None or "\n".join([match[2], *lines[at + 1 : at + size]]) != path:
            raise ProtocolBroken("the lists of subvolumes do not fit", detail=repr(lines[at][:300]))
        numbers.add(match[1])
        at += size
    return numbers


def _split_lines(output: bytes) -> list[str]:
    lines = to_text(output).split("\n")
    if len(lines) > _LIMIT or lines[-1]:
        raise ProtocolBroken("the list of subvolumes is endless or ends in the middle")
    return lines[:-1]


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
