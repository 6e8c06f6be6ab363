"""What covers what while a long program runs on a device."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bind:
    """`snapshot_path` is mounted read-only over `true_path`, seen by one program only.

    Both may be the same: then the live files are read, but cannot be written.
    """

    snapshot_path: str
    true_path: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What a long program may take from a device's applications. None leaves a thing as it is.

    The numbers come from a measured pgbench run: `nice` and `ionice` alone left 2.4 % of transactions late,
    one processor for Go left none.
    """

    niceness: int | None = 10
    io_priority: int | None = 7
    processors: int | None = 1
