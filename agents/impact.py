"""What a device felt during a run: the watcher's lines, what two of them mean, and the receipt of all.

Words: a *reading* is what the kernel counted up to a moment; the difference of two is an `Impact`; *pressure*
is the share of time in which something waited (PSI, https://docs.kernel.org/accounting/psi.html).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agents.errors import ProtocolBroken
from agents.events import Felt, Impact

LINE_BYTES = 4096
_SECTOR_BYTES = 512
_MOST_DISKS = 16
_COUNT = re.compile(r"[0-9]{1,19}")
_PERCENT = re.compile(r"[0-9]{1,3}\.[0-9]{2}")
_DISK = re.compile(r"[A-Za-z0-9!._-]{1,64}(:[0-9]{1,19}){5}")
_PRESSURES = ("cpu_pressure", "io_pressure", "memory_pressure")
_QUANTITIES = ("cpu", *_PRESSURES, "disk_busy", "disk_wait_ms", "network_bytes_s")
_REASONS = frozenset({"backup", "others", "alone"})


@dataclass(frozen=True, slots=True)
class Disk:
    """What a disk did since the machine started; `waited_ms` is the time of all operations together."""

    name: str
    busy_ms: int
    operations: int
    waited_ms: int
    read_sectors: int
    written_sectors: int


@dataclass(frozen=True, slots=True)
class Reading:
    """One look. Pressures are microseconds, None where the kernel has none; processor times are its ticks."""

    uptime_s: float
    is_paused: bool
    cpu_busy: int
    cpu_all: int
    cpu_pressure: int | None
    io_pressure: int | None
    io_full: int | None
    memory_pressure: int | None
    memory_full: int | None
    available_kb: int | None
    cached_kb: int | None
    received_bytes: int
    sent_bytes: int
    disks: tuple[Disk, ...]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Pressure in the minute before the first look, 0 to 1. None where the kernel has none."""

    cpu: float | None
    io: float | None
    memory: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """The backup stood still. `stall` is the share of time that was waited for disks before.

    Reasons: the "backup" made the pressure; "others" did, since it stayed high in the pause; the backup was
    "alone", since nobody used the disks in the pause.
    """

    uptime_s: float
    seconds: float
    stall: float
    reason: str


@dataclass(frozen=True, slots=True)
class Growth:
    """The device raised the memory limit to so many bytes."""

    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Hurry:
    """The backup got nearly nothing of what it wanted of the processors (`ran` and `waited` are shares of the
    time before): the device gives it a small share for a minute."""

    uptime_s: float
    ran: float
    waited: float


@dataclass(frozen=True, slots=True)
class Pace:
    """From now on the backup reads at most so many bytes a second, since others write. 0: no limit."""

    uptime_s: float
    bytes_s: int


Line = Reading | Baseline | Pause | Growth | Hurry | Pace


def parse_line(line: bytes) -> Line:
    """Given one line of the watcher without its newline, return what it says. Raise ProtocolBroken for what
    no watcher of ours prints."""
    if len(line) > LINE_BYTES or not line.isascii():
        raise ProtocolBroken("the watcher on the device printed nonsense", detail=repr(line[:200]))
    word, *words = line.decode("ascii").split(" ")
    try:
        return _PARSERS[word](words)
    except (KeyError, ValueError) as error:
        raise ProtocolBroken("the watcher on the device printed nonsense", detail=repr(line[:200])) from error


def _parse_baseline(words: Sequence[str]) -> Baseline:
    cpu, io, memory = (None if word == "-" else _percent(word) for word in words)
    return Baseline(cpu, io, memory)


def _parse_pause(words: Sequence[str]) -> Pause:
    began, lasted, stall, reason = words
    if reason not in _REASONS:
        raise ValueError(reason)
    return Pause(_count(began) / 100, _count(lasted) / 100, _count(stall) / 10_000, reason)


def _parse_growth(words: Sequence[str]) -> Growth:
    (size,) = words
    return Growth(_count(size))


def _parse_hurry(words: Sequence[str]) -> Hurry:
    at, ran, waited = words
    return Hurry(_count(at) / 100, _count(ran) / 10_000, _count(waited) / 10_000)


def _parse_pace(words: Sequence[str]) -> Pace:
    at, speed = words
    return Pace(_count(at) / 100, _count(speed))


def _parse_reading(words: Sequence[str]) -> Reading:
    if not 13 <= len(words) <= 13 + _MOST_DISKS or words[1] not in ("0", "1"):
        raise ValueError("not the words of a sample")
    maybe = [None if word == "-" else _count(word) for word in words[4:11]]
    return Reading(
        _count(words[0]) / 100, words[1] == "1", _count(words[2]), _count(words[3]),
        maybe[0], maybe[1], maybe[2], maybe[3], maybe[4], maybe[5], maybe[6],
        _count(words[11]), _count(words[12]), tuple(_disk(word) for word in words[13:]),
    )  # fmt: skip


_PARSERS: dict[str, Callable[[Sequence[str]], Line]] = {
    "sample": _parse_reading,
    "baseline": _parse_baseline,
    "paused": _parse_pause,
    "grew": _parse_growth,
    "hurried": _parse_hurry,
    "reads": _parse_pace,
}


def _disk(word: str) -> Disk:
    if not _DISK.fullmatch(word):
        raise ValueError(word)
    name, *counts = word.split(":")
    return Disk(name, *map(int, counts))


def _count(word: str) -> int:
    if not _COUNT.fullmatch(word):
        raise ValueError(word)
    return int(word)


def _percent(word: str) -> float:
    if not _PERCENT.fullmatch(word):
        raise ValueError(word)
    return float(word) / 100


def compare(before: Reading, after: Reading) -> Impact | None:
    """Given two readings, return what happened between them, or None when they are of one moment.

    Counters that went back (a disk or an interface was removed) count as no change."""
    seconds = after.uptime_s - before.uptime_s
    if seconds <= 0:
        return None
    old = {disk.name: disk for disk in before.disks}
    pairs = [(old[disk.name], disk) for disk in after.disks if disk.name in old]
    operations = sum(_grown(one.operations, two.operations) for one, two in pairs)
    waited_ms = sum(_grown(one.waited_ms, two.waited_ms) for one, two in pairs)
    busiest_ms = max((_grown(one.busy_ms, two.busy_ms) for one, two in pairs), default=0)
    read = sum(_grown(one.read_sectors, two.read_sectors) for one, two in pairs)
    written = sum(_grown(one.written_sectors, two.written_sectors) for one, two in pairs)
    moved = _grown(before.received_bytes, after.received_bytes) + _grown(before.sent_bytes, after.sent_bytes)
    ticks = _grown(before.cpu_all, after.cpu_all)
    return Impact(
        uptime_s=after.uptime_s,
        seconds=seconds,
        is_paused=after.is_paused,
        cpu=min(1.0, _grown(before.cpu_busy, after.cpu_busy) / ticks) if ticks else 0.0,
        cpu_pressure=_pressure(before.cpu_pressure, after.cpu_pressure, seconds),
        io_pressure=_pressure(before.io_pressure, after.io_pressure, seconds),
        memory_pressure=_pressure(before.memory_pressure, after.memory_pressure, seconds),
        disk_busy=min(1.0, busiest_ms / seconds / 1000),
        disk_wait_ms=waited_ms / operations if operations else 0.0,
        read_bytes_s=read * _SECTOR_BYTES / seconds,
        written_bytes_s=written * _SECTOR_BYTES / seconds,
        network_bytes_s=moved / seconds,
        available_bytes=None if after.available_kb is None else after.available_kb * 1024,
        cached_bytes=None if after.cached_kb is None else after.cached_kb * 1024,
    )


def _grown(before: int, after: int) -> int:
    return max(0, after - before)


def _pressure(before: int | None, after: int | None, seconds: float) -> float | None:
    if before is None or after is None:
        return None
    return min(1.0, _grown(before, after) / 1e6 / seconds)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The impact receipt of a run. Shares of time are 0 to 1. `paused_s` is the sum of `pauses` pauses."""

    seconds: float
    cpu: Felt
    cpu_pressure: Felt
    io_pressure: Felt
    memory_pressure: Felt
    disk_busy: Felt
    disk_wait_ms: Felt
    network_bytes_s: Felt
    pauses: int
    paused_s: float

    @property
    def lines(self) -> tuple[Felt, ...]:
        """Return every quantity that somebody measured."""
        felt: list[Felt] = [getattr(self, name) for name in _QUANTITIES]
        return tuple(each for each in felt if each.mean is not None)


class Tally:
    """Adds up what was felt; its size does not grow with the run."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._sums: dict[str, tuple[float, float, float]] = {}

    def add(self, impact: Impact) -> None:
        self.seconds += impact.seconds
        for name in _QUANTITIES:
            value: float | None = getattr(impact, name)
            if value is not None:
                total, seconds, worst = self._sums.get(name, (0.0, 0.0, 0.0))
                total, seconds = total + value * impact.seconds, seconds + impact.seconds
                self._sums[name] = total, seconds, max(worst, value)

    def mean(self, name: str) -> float | None:
        """Return the mean over time, None when it was never measured."""
        total, seconds, _ = self._sums.get(name, (0.0, 0.0, 0.0))
        return total / seconds if seconds else None

    def worst(self, name: str) -> float | None:
        return self._sums[name][2] if name in self._sums else None


def make_receipt(
    baseline: Baseline, before: Tally, during: Tally, *, pauses: int, paused_s: float
) -> Receipt:
    """Given the minute before, what was felt before the work and during it, return the receipt."""
    known = dict(zip(_PRESSURES, (baseline.cpu, baseline.io, baseline.memory), strict=True))
    figures = {}
    for name in _QUANTITIES:
        first = known.get(name)
        first = before.mean(name) if first is None else first
        figures[name] = Felt(name, first, during.mean(name), during.worst(name))
    return Receipt(seconds=during.seconds, **figures, pauses=pauses, paused_s=paused_s)
