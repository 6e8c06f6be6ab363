"""Looking at processes from outside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def wait_until(holds: Callable[[], bool], within_s: float, what: str) -> None:
    """Return as soon as something holds. Raise AssertionError when it does not in time."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"not within {within_s} s: {what}"
        time.sleep(0.05)


def is_running(process: int) -> bool:
    """Return False for a process that is gone or waits as a zombie for its parent."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def list_children(process: int) -> set[int]:
    """Return the ids of the children of a process that has one thread; none when it has ended."""
    try:
        return set(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))
    except (FileNotFoundError, ProcessLookupError):
        return set()


def list_descendants(process: int) -> set[int]:
    """Return the ids of a process's children, their children and so on."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    found: set[int] = set()
    layer = {process}
    while layer:
        layer = {child for child, parent in parents.items() if parent in layer}
        found |= layer
    return found
