"""Which XFS file systems can share the blocks of two files."""

from __future__ import annotations

from collections.abc import Sequence

from agents.commands import Command
from agents.facts.wire import split_fields

_SCRIPT = r"""
for point in "$@"; do
  case $(xfs_info "$point" 2>/dev/null) in *reflink=1*) printf '%s\0' "$point" ;; esac
done
"""


def reflink_command(points: Sequence[str]) -> Command:
    """Given mount points of XFS, return the command that asks each."""
    return Command.of("sh", "-c", _SCRIPT, "hotfleet", *points)


def parse_reflinks(output: bytes) -> tuple[str, ...]:
    """Given what the command printed, return the mount points that can."""
    return tuple(point for (point,) in split_fields(output, 1))
