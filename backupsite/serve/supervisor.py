"""Starts programs in order, shows what they say, restarts them, and stops them in the opposite order.

1. start: each program in turn, the next one when the one before is ready.
2. watch: a program that ends is started again after a pause that grows; after `GIVE_UP_AFTER` ends in a
   row, each soon after its start, everything is stopped and that is said.
3. stop (Ctrl-C, TERM, HUP): stage by stage, the last started first. TERM, wait, then KILL. A second
   Ctrl-C does not wait.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby

from backupsite.serve import child as processes
from backupsite.serve.child import Child

GIVE_UP_AFTER = 5
_SOON_S = 10.0
_FIRST_PAUSE_S = 0.5
_LONGEST_LINE = 65536
_KEPT_LINES = 20
_ONE_WISH_S = 1.0


class GivenUpError(Exception):
    """A program does not start, does not become ready or does not stay. Its text names it."""


class StopRequested(Exception):
    """No error: the person, or the system, wants us to stop while we are starting."""


@dataclass
class Program:
    """What has to run. Programs of one stage are stopped together.

    What a talkative one says is shown only when it ends by itself: its last lines.
    """

    name: str
    main: Callable[[], object]
    stage: int
    stop_after_s: float = 10.0
    is_ready: Callable[[], bool] = lambda: True
    ready_within_s: float = 30.0
    is_talkative: bool = False
    child: Child | None = field(default=None, init=False)
    failures: int = field(default=0, init=False)
    start_again_at: float | None = field(default=None, init=False)


class Supervisor:
    """Owns the programs' processes. For use in the only thread of a process."""

    def __init__(self, say: Callable[[str, str], None]) -> None:
        """Given a function that shows a line (who, text), catch the signals of this process."""
        self._say = say
        self._programs: list[Program] = []
        self._stops_wanted = 0
        self._last_wish = float("-inf")
        self._selector = selectors.DefaultSelector()
        self._bell, ringing = os.pipe()
        for end in (self._bell, ringing):
            os.set_blocking(end, False)
        # A signal writes a byte here and so ends the wait: no busy loop, and nothing is missed.
        signal.set_wakeup_fd(ringing, warn_on_full_buffer=False)
        self._selector.register(self._bell, selectors.EVENT_READ)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Ignored already: started by nohup, or in the background of a script. That is respected.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._want_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _want_stop(self, *_: object) -> None:
        # timeout(1) and others signal the process and then its group: that is one wish and not two.
        if time.monotonic() - self._last_wish > _ONE_WISH_S:
            self._stops_wanted += 1
        self._last_wish = time.monotonic()

    def start(self, program: Program) -> None:
        """Start a program and return when it is ready.

        Raise GivenUpError when it ends or is not ready in time, StopRequested on Ctrl-C.
        """
        self._programs.append(program)
        self._fork(program)
        until = time.monotonic() + program.ready_within_s
        while not program.is_ready():
            self._raise_if_stopped()
            if self._child(program).reap():
                self._hang_up(self._child(program))
                self._show_kept(self._child(program))
                self._programs.remove(program)
                raise GivenUpError(f"{program.name} ended while it started. What it said stands above.")
            if time.monotonic() > until:
                self._show_kept(self._child(program))
                raise GivenUpError(f"{program.name} was not ready within {program.ready_within_s:.0f} s.")
            self._listen(0.05)

    def finish(self, name: str, main: Callable[[], object]) -> None:
        """Run something to its end in a child. Raise GivenUpError when it fails, StopRequested on Ctrl-C."""
        step = Program(name, main, stage=0)
        self._programs.append(step)
        self._fork(step)
        child = self._child(step)
        while not child.reap():
            self._raise_if_stopped()
            self._listen(0.2)
        self._hang_up(child)
        self._programs.remove(step)
        if child.code != 0:
            raise GivenUpError(f"{name} failed ({_describe(child.code)}). What it said stands above.")

    def watch(self) -> None:
        """Keep everything running. Return when somebody wants to stop; raise GivenUpError as told above."""
        while not self._stops_wanted:
            self._listen(self._until_next_start())
            for program in self._programs:
                if program.child is not None and program.child.reap():
                    self._note_end(program, program.child)
                elif program.start_again_at is not None and time.monotonic() >= program.start_again_at:
                    self._fork(program)

    def stop(self) -> None:
        """Stop all programs, stage by stage, the last stage first. Returns when nothing of ours runs."""
        already = self._stops_wanted
        for _, stage in groupby(sorted(self._programs, key=lambda p: -p.stage), key=lambda p: p.stage):
            running = [program for program in stage if program.child is not None]
            self._stop_stage(running, already)

    def _stop_stage(self, running: list[Program], already: int) -> None:
        started = time.monotonic()
        killed: set[str] = set()
        for program in running:
            self._child(program).signal(signal.SIGTERM)
        while still := [program for program in running if not self._child(program).reap()]:
            for program in still:
                is_late = time.monotonic() - started > program.stop_after_s
                if (is_late or self._stops_wanted > max(already, 1)) and program.name not in killed:
                    self._say(program.name, "does not stop: killed")
                    self._child(program).kill()
                    killed.add(program.name)
            self._listen(0.2)
        for program in running:
            child = self._child(program)
            self._hang_up(child)
            if not child.ended_well and program.name not in killed:
                self._show_kept(child)
                self._say(program.name, f"ended with {_describe(child.code)}")
            program.child = None

    @staticmethod
    def _child(program: Program) -> Child:
        if program.child is None:
            raise RuntimeError(f"{program.name} has no process")
        return program.child

    def _raise_if_stopped(self) -> None:
        if self._stops_wanted:
            raise StopRequested

    def _fork(self, program: Program) -> None:
        program.start_again_at = None
        program.child = processes.start(program.name, program.main, time.monotonic())
        program.child.kept_lines = deque(maxlen=_KEPT_LINES) if program.is_talkative else None
        self._selector.register(program.child.output, selectors.EVENT_READ, program.child)

    def _note_end(self, program: Program, child: Child) -> None:
        self._hang_up(child)
        self._show_kept(child)
        program.child = None
        lived_s = time.monotonic() - child.started_at
        program.failures = program.failures + 1 if lived_s < _SOON_S else 1
        if program.failures >= GIVE_UP_AFTER:
            raise GivenUpError(
                f"{program.name} ended {program.failures} times, each time soon after its start. "
                "What it said stands above."
            )
        pause_s = _FIRST_PAUSE_S * 2 ** (program.failures - 1)
        program.start_again_at = time.monotonic() + pause_s
        self._say(program.name, f"ended ({_describe(child.code)}); starts again in {pause_s:g} s")

    def _until_next_start(self) -> float:
        times = [p.start_again_at for p in self._programs if p.start_again_at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else 3600.0

    def _listen(self, timeout_s: float) -> None:
        """Show what children say until something happens or the time is over."""
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                with suppress(BlockingIOError):
                    os.read(self._bell, 4096)
            elif not self._read(key.data):
                self._selector.unregister(key.fd)

    def _read(self, child: Child) -> bool:
        """Show whole lines of a child. Return False when it closed its output."""
        try:
            said = os.read(child.output, 65536)
        except BlockingIOError:
            return True
        *lines, child.unfinished_line = (child.unfinished_line + said).split(b"\n")
        if child.unfinished_line and (not said or len(child.unfinished_line) > _LONGEST_LINE):
            lines, child.unfinished_line = [*lines, child.unfinished_line], b""
        for line in lines:
            self._show(child, _make_visible(line.decode(errors="backslashreplace")))
        return bool(said)

    def _show(self, child: Child, line: str) -> None:
        if child.kept_lines is None:
            self._say(child.name, line)
        else:
            child.kept_lines.append(line)

    def _show_kept(self, child: Child) -> None:
        for line in child.kept_lines or ():
            self._say(child.name, line)

    def _hang_up(self, child: Child) -> None:
        # What it said last is still in the pipe.
        while child.output in self._selector.get_map() and self._read(child):
            if not self._has_more(child):
                break
        with suppress(KeyError):
            self._selector.unregister(child.output)
        os.close(child.output)

    def _has_more(self, child: Child) -> bool:
        return any(key.fd == child.output for key, _ in self._selector.select(0))


def _make_visible(text: str) -> str:
    # What a device said may stand in a log line; it must not steer the terminal of who reads it.
    return "".join(char if char.isprintable() or char == "\t" else f"\\x{ord(char):02x}" for char in text)


def _describe(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
