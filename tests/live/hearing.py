"""Hearing a program out."""

from __future__ import annotations

from typing import Protocol


class Speaks(Protocol):
    """What a session or a runner has started."""

    def read(self, *, timeout_s: float) -> bytes: ...


def read_all(program: Speaks) -> bytes:
    """Return what it printed, to the end: sshd may tell that it ended before it sends the last of it."""
    said = b""
    while piece := program.read(timeout_s=60):
        said += piece
    return said
