"""What a process has to know about its parent: when the parent is killed, the child must not live on."""

from __future__ import annotations

import ctypes
import os
import signal

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
