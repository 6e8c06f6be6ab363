"""One forked process: its own session, its output in a pipe, dead when its parent is dead."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from backupsite.processes import die_with_parent

# All that the supervisor handles itself; a child starts with the system's defaults.
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@dataclass
class Child:
    """A process that was started. `output` is non-blocking; `code` is None while it runs."""

    name: str
    process: int
    output: int
    started_at: float
    code: int | None = None
    unfinished_line: bytes = field(default=b"", repr=False)
    kept_lines: deque[str] | None = field(default=None, repr=False)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process (not to its group: a pool tells its workers itself)."""
        if self.code is None:
            os.kill(self.process, number)

    def kill(self) -> None:
        """End the process and its session's first group at once."""
        if self.code is None:
            os.killpg(self.process, signal.SIGKILL)

    def reap(self) -> bool:
        """Return True when the process has ended; `code` is then its exit code, or minus its signal.

        What it left behind in its group is killed.
        """
        if self.code is None and os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            # Before its id is given back: afterwards the group's number could be somebody else's.
            os.killpg(self.process, signal.SIGKILL)
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        return self.code is not None

    @property
    def ended_well(self) -> bool:
        # uvicorn raises the signal again after a clean end; Python ends with -2 on Ctrl-C.
        return self.code in (0, -signal.SIGTERM, -signal.SIGINT)


def start(name: str, main: Callable[[], object], now: float) -> Child:
    """Given what to run, fork and return the child. Signals sent to us meanwhile are kept for us.

    The caller has one thread, or the fork may copy a lock that nobody releases.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reading, writing = os.pipe()
    parent = os.getpid()
    # Blocked until the child has the default handlers: a TERM in between would be lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        process = os.fork()
        if process == 0:
            _become(parent, writing, before, main)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(writing)
    os.set_blocking(reading, False)
    return Child(name, process, reading, now)


def _become(parent: int, output: int, mask: set[int | signal.Signals], main: Callable[[], object]) -> None:
    code = 1
    try:
        # A session of its own: Ctrl-C at the terminal reaches the supervisor only, which stops in order.
        os.setsid()
        die_with_parent(parent)
        _forget_signals(mask)
        _redirect(output)
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")
    except BaseException:  # noqa: BLE001 (the border of a process: whatever it is, tell it and end)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _forget_signals(mask: set[int | signal.Signals]) -> None:
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _redirect(output: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Line by line, so that the supervisor shows a line when it is written.
            stream.reconfigure(line_buffering=True)
