"""How much the file systems of a device hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.commands import Command
from agents.errors import ProtocolBroken
from agents.facts.mounts import Mount
from agents.facts.wire import parse_number, split_fields

# statfs(2): blocks in all, free ones, bytes a block. What cannot be asked prints nothing.
_SCRIPT = r"""
for point in "$@"; do
  printf '%s\0%s\0' "$point" "$(stat -f -c '%b %f %S' "$point" 2>/dev/null)"
done
"""


@dataclass(frozen=True, slots=True)
class Fill:
    """A file system of the device itself, by the shortest of the points at which it is mounted."""

    point: str
    used_bytes: int


def measured_points(mounts: Iterable[Mount]) -> list[str]:
    """Given the mounts of a device, return the points whose file systems are its own, one for each."""
    points: dict[str, str] = {}
    for mount in sorted(mounts, key=lambda each: (len(each.point), each.point)):
        if not (mount.is_pseudo or mount.is_apart or mount.is_read_only):
            points.setdefault(mount.device, mount.point)
    return list(points.values())


def fills_command(points: Sequence[str]) -> Command:
    """Given mount points, return the command that asks each."""
    return Command.of("sh", "-c", _SCRIPT, "hotfleet", *points)


def parse_fills(output: bytes) -> tuple[Fill, ...]:
    """Given what the command printed, return what is known. Raise ProtocolBroken for something else."""
    return tuple(Fill(point, _read_used(said)) for point, said in split_fields(output, 2) if said)


def _read_used(said: str) -> int:
    words = said.split(" ")
    if len(words) != 3:
        raise ProtocolBroken("the size of a file system is not three numbers", detail=repr(said[:200]))
    blocks, free, size = (parse_number(word, "the size of a file system") for word in words)
    return max(blocks - free, 0) * size
