"""What a process has to know about its end: its parent's, after which it must not live on, and its own."""

from __future__ import annotations

import ctypes
import os
import queue
import signal
from contextlib import suppress
from types import FrameType

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec nothing may be imported.
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Call in a child right after fork: the kernel sends this signal when the parent ends, however it ends.

    `parent` is the id of the process that forked, taken before the fork: when it is gone already the child
    ends here. The kernel watches the THREAD that forked, so fork from one that lives as long as its process.
    Raise OSError when the kernel refuses.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl(PR_SET_PDEATHSIG): {os.strerror(code)}")
    if os.getppid() != parent:
        os._exit(1)


class StopRequest:
    """SIGTERM and SIGINT for a loop in the main thread: its work is finished, its pauses are cut short.

    No threading.Event: set by a handler that interrupts its own `wait`, it waits for a lock of this thread.
    """

    def __init__(self) -> None:
        self.is_made = False
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._make)

    def _make(self, number: int, frame: FrameType | None) -> None:
        self.is_made = True
        self._bell.put(None)  # may be called in the middle of `get`, says its documentation

    def wait(self, timeout_s: float) -> None:
        """Return after this time, or as soon as the request is made; at once when it was made before."""
        with suppress(queue.Empty):
            if not self.is_made:
                self._bell.get(timeout=timeout_s)
