"""Kills a program of a run when it has printed some of what it has to print: never before, never after."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.live.ground import Device

_HALF_BYTES = 1 << 20


class Killer:
    """A context in which every process called `victim` is killed once one called `by` wrote a megabyte; or
    `strike` is called with the id of that one."""

    def __init__(
        self, device: Device, victim: str, *, by: str = "", strike: Callable[[int], object] | None = None
    ) -> None:
        self._device = device
        self._victim = victim
        self._by = by or victim
        self._strike = strike
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.killed = False

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set() and not self.killed:
            pids = {pid: _name_of(pid) for pid in self._device.pids()}
            for writer in [pid for pid, name in pids.items() if name == self._by]:
                if written_by(writer) < _HALF_BYTES or self.killed:
                    continue
                if self._strike is not None:
                    self._strike(writer)
                    self.killed = True
                for pid in [each for each, name in pids.items() if name == self._victim]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        self.killed = True
            time.sleep(0.001)


def _name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def written_by(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            if line.startswith("wchar: "):
                return int(line.split()[1])
    return 0
