"""The watcher of a run: what the device feels, told as it happens, and pauses of the backup when it is much.

It only helps: a watcher that cannot start, prints nonsense or dies is told as a warning, and the run goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from agents.commands import Command
from agents.errors import AgentError, ProtocolBroken
from agents.events import Level, Said, Tell, Throttled
from agents.impact import (
    LINE_BYTES,
    Baseline,
    Growth,
    Hurry,
    Line,
    Pace,
    Pause,
    Reading,
    Receipt,
    Tally,
    compare,
    make_receipt,
    parse_line,
)
from agents.runner import NO_LIMITS, Limits, Runner, SupervisedProgram

_STEP_S = 2
_STEP_WHEN_THROTTLING_S = 1
# Above what a pause may last, and short enough that a cut connection is not waited for.
_POLL_S = 5.0
_END_S = 5.0
_SENTENCES = {
    "backup": "The backup paused for {seconds:.0f} s: the disks were waited for {stall:.0%} of the time.",
    "others": "The disks are waited for although the backup stands still: others do it. It goes on slowly.",
    "alone": "Nobody else uses the disks: the backup goes on, although it waits for them itself.",
}


_HURRY = (
    "The processors of this device are never free (the backup had one for {ran:.0%} of the time): it takes a "
    "small share of them now instead of waiting."
)


_PACE = (
    "Others write to the disks of this device: the backup reads only as fast as leaves their writes nearly "
    "as quick as they are without it."
)


class Watcher:
    """What is known of a device while a run works. Threads may share it."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._last: Reading | None = None
        self._baseline = Baseline(None, None, None)
        self._before, self._during = Tally(), Tally()
        self._pauses, self._paused_s = 0, 0.0
        self._told: set[str] = set()
        self._slowest: Pace | None = None
        self._has_begun = False

    def begin(self) -> None:
        """The work starts now: what was felt so far is what the device feels without it."""
        with self._lock:
            self._has_begun = True

    def receipt(self) -> Receipt | None:
        """Return what the device felt since `begin`, None when nothing was learned."""
        with self._lock:
            if not self._during.seconds:
                return None
            return make_receipt(
                self._baseline, self._before, self._during, pauses=self._pauses, paused_s=self._paused_s
            )

    def sum_up(self) -> None:
        """Tell the receipt."""
        receipt = self.receipt()
        for felt in receipt.lines if receipt is not None else ():
            self._tell(felt)
        if self._slowest is not None:
            text = (
                f"The slowest that it read for that reason: {self._slowest.bytes_s / 2**20:.0f} MiB a second."
            )
            self._tell(Said(text))

    def take(self, line: Line) -> None:
        """Take what the device said, and tell it."""
        match line:
            case Baseline():
                self._baseline = line
                if line.io is None:
                    self._say("The kernel of this device does not measure pressure (PSI): nothing is paused.")
            case Reading():
                self._take_reading(line)
            case Pause():
                with self._lock:
                    self._pauses, self._paused_s = self._pauses + 1, self._paused_s + line.seconds
                self._tell(Throttled(line.seconds, line.reason))
                self._say(_SENTENCES[line.reason].format(seconds=line.seconds, stall=line.stall))
            case Growth(limit):
                self._say(f"restic needs more memory: its limit is {limit // 2**20} MiB now.")
            case Hurry():
                self._say(_HURRY.format(ran=line.ran))
            case Pace():
                self._take_pace(line)

    def _take_reading(self, reading: Reading) -> None:
        before, self._last = self._last, reading
        impact = None if before is None else compare(before, reading)
        if impact is None:
            return
        with self._lock:
            (self._during if self._has_begun else self._before).add(impact)
        self._tell(impact)

    def _take_pace(self, pace: Pace) -> None:
        if pace.bytes_s > 0:
            self._say(_PACE)
            self._slowest = min(self._slowest or pace, pace, key=lambda each: each.bytes_s)

    def _say(self, text: str) -> None:
        """A sentence for the log, each kind once a run: a long one would be full of them."""
        kind = text[:24]
        if kind not in self._told:
            self._told.add(kind)
            self._tell(Said(text))

    def warn(self, error: AgentError) -> None:
        detail = f" ({error.detail})" if error.detail else ""
        text = f"What this device feels is not watched: {error.message}{detail}."
        self._tell(Said(text, Level.WARNING))


@contextmanager
def watch_device(runner: Runner, limits: Limits, tell: Tell) -> Iterator[Watcher]:
    """Watch the device until the context ends; pause the long programs of the run whose limits allow it.

    A thread tells the events, the receipt comes at the end. Raises nothing of its own."""
    watcher = Watcher(tell)
    try:
        program = runner.start(_command(runner, limits), environment={}, limits=NO_LIMITS)
    except AgentError as error:
        watcher.warn(error)
        yield watcher
        return
    ending = threading.Event()
    thread = threading.Thread(
        target=_follow, args=(program, watcher, ending), name=f"watch-{runner.run_id[:8]}", daemon=True
    )
    thread.start()
    try:
        yield watcher
    finally:
        ending.set()
        try:
            program.close_stdin()  # it lets go what it paused, and prints its last line
        except AgentError as error:
            watcher.warn(error)
        thread.join(_END_S)
        program.close()
        watcher.sum_up()


def _command(runner: Runner, limits: Limits) -> Command:
    step, budget = _STEP_S, "-"
    if limits.pressure_budget is not None:
        step, budget = _STEP_WHEN_THROTTLING_S, str(round(limits.pressure_budget * 10_000))
    path = f"{runner.directory}/program"
    return Command.of(
        "/bin/sh", path, "watch", runner.directory, str(step), budget, str(limits.longest_pause_s)
    )


def _follow(program: SupervisedProgram, watcher: Watcher, ending: threading.Event) -> None:
    try:
        for line in _lines(program, ending):
            watcher.take(parse_line(line))
        if not ending.is_set():
            raise ProtocolBroken(
                "the watcher on the device ended", detail=program.stderr_tail.decode(errors="replace")
            )
    except AgentError as error:
        if not ending.is_set():
            watcher.warn(error)


def _lines(program: SupervisedProgram, ending: threading.Event) -> Iterator[bytes]:
    rest = b""
    while True:
        try:
            data = program.read(timeout_s=_POLL_S)
        except TimeoutError:
            if ending.is_set():
                return
            continue
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > LINE_BYTES:
            raise ProtocolBroken("the watcher on the device printed an endless line")
        yield from lines
