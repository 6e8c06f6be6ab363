"""The rule that a test file leaves no child process: the next file would find a stranger among its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# One machine serves all files there.
_OWN_RULES = ("tests/vm/",)
_PATIENCE_S = 60.0


def _children_of(task: Path) -> list[int]:
    try:
        return [int(pid) for pid in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []  # the thread ended: its children have another thread of this process as their parent now


def find_children() -> dict[int, str]:
    """Return what this process started and what still runs, by its process id. Zombies are over."""
    found = {}
    for pid in [pid for task in Path("/proc/self/task").iterdir() for pid in _children_of(task)]:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            found[pid] = words[:200]
    return found


_before = find_children()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After the last test of a file, and the end of what its tests shared, no process of theirs runs."""
    yield
    is_last = nextitem is None or nextitem.path != item.path
    if item.nodeid.startswith(_OWN_RULES):
        _before.update(find_children())  # other files may follow in this process
        return
    if not is_last:
        return
    until = time.monotonic() + _PATIENCE_S
    while left := {pid: words for pid, words in find_children().items() if pid not in _before}:
        if time.monotonic() > until:
            _before.update(left)  # told once
            pytest.fail(f"{item.path.name} leaves processes of this one ({os.getpid()}): {left}")
        time.sleep(0.05)
