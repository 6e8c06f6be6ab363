"""Memory and processor time of processes, read from /proc while they work."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `shared_fairly` is PSS: private pages and a fair part of the shared ones; `private` is USS."""

    shared_fairly: int = 0
    private: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.shared_fairly + other.shared_fairly, self.private + other.private)


def read_memory(pid: int) -> Memory:
    """Return the memory of a process, nothing for one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return Memory()
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
    private = sizes.get("Private_Clean", 0) + sizes.get("Private_Dirty", 0)
    return Memory(sizes.get("Pss", 0), private)


def read_processor_seconds(pid: int) -> float:
    """Return the processor time that a process and its ended children used so far."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(word) for word in words[11:15]) / os.sysconf("SC_CLK_TCK")


def name_of(pid: int) -> str:
    """Return what a process is called, "" for one that is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def list_tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for each in found:
        for path in Path(f"/proc/{each}/task").glob("*/children"):
            try:
                found += [int(word) for word in path.read_text().split()]
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


def find_by_name(pids: Iterable[int], name: str) -> list[int]:
    """Return those of `pids` whose program has this name."""
    return [pid for pid in pids if name_of(pid) == name]


class Sampler:
    """Notes the memory of whatever `list_pids` returns, all together, four times a second.

    A context manager. Fork before it starts: it is a thread."""

    def __init__(self, list_pids: Callable[[], Iterable[int]], *, every_s: float = 0.25) -> None:
        self._list_pids = list_pids
        self._every_s = every_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._seen: list[list[Memory]] = []

    def _look(self) -> None:
        while not self._done.wait(self._every_s):
            memories = [read_memory(pid) for pid in self._list_pids()]
            self._seen.append([each for each in memories if each.shared_fairly])

    def highest(self) -> Memory:
        """Return the most that all used together."""
        totals = [sum(seen, Memory()) for seen in self._seen]
        return max(totals, key=lambda memory: memory.shared_fairly, default=Memory())

    def highest_mean(self) -> Memory:
        """Return the most that one used on average of those that lived."""
        sums = [(sum(seen, Memory()), len(seen)) for seen in self._seen if seen]
        means = [Memory(total.shared_fairly // count, total.private // count) for total, count in sums]
        return max(means, key=lambda memory: memory.shared_fairly, default=Memory())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
