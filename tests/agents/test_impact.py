"""What the watcher's lines mean, and the receipt that is made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agents.binds import MIB, NO_LIMITS, Limits
from agents.errors import ProtocolBroken
from agents.events import Event, Impact, Said, Throttled
from agents.impact import (
    Baseline,
    Disk,
    Growth,
    Hurry,
    Pace,
    Pause,
    Reading,
    Tally,
    compare,
    make_receipt,
    parse_line,
)
from agents.watching import Watcher

FIRST = b"sample 10000 0 100 1000 5 7 3 0 0 2048 1024 10 20 vda:100:10:40:1000:2000 sdb:0:0:0:0:0"
SECOND = (
    b"sample 10200 1 200 1400 1000005 500007 3 0 0 1024 512 2058 20 vda:600:30:140:3048:2000 sdb:0:0:0:0:0"
)
OLD_KERNEL = b"sample 10000 0 100 1000 - - - - - - 1024 10 20"


def reading(line: bytes) -> Reading:
    parsed = parse_line(line)
    assert isinstance(parsed, Reading)
    return parsed


def impact(**changes: Any) -> Impact:
    made = compare(reading(FIRST), reading(SECOND))
    assert made is not None
    return replace(made, **changes)


def test_each_line_is_what_it_says() -> None:
    assert parse_line(b"baseline 2.48 12.50 -") == Baseline(0.0248, 0.125, None)
    assert parse_line(b"paused 1234 205 8100 others") == Pause(12.34, 2.05, 0.81, "others")
    assert parse_line(b"grew 471859200") == Growth(450 * MIB)
    assert parse_line(b"hurried 1234 150 9500") == Hurry(12.34, 0.015, 0.95)
    assert parse_line(b"reads 1234 8388608") == Pace(12.34, 8 << 20)
    assert reading(FIRST).disks == (Disk("vda", 100, 10, 40, 1000, 2000), Disk("sdb", 0, 0, 0, 0, 0))
    old = reading(OLD_KERNEL)
    assert (old.io_pressure, old.memory_full, old.available_kb, old.disks) == (None, None, None, ())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"sample",
        b"hello 1 2",
        b"sample 1",
        b"grew -1",
        b"grew 99999999999999999999",
        b"grew 1 2",
        b"hurried 1 2",
        b"hurried 1 -2 3",
        b"paused 1 2 3 because",
        b"baseline 1 2 3",
        b"baseline 1.00 2.00",
        FIRST.replace(b"10000 0", b"10000 2"),
        FIRST.replace(b"vda", b"v:a"),
        FIRST.replace(b"vda", b""),
        FIRST.replace(b":10:", b":-1:"),
        FIRST.replace(b"2048", b"\xc2\xb2"),
        FIRST + b" ",
        FIRST + b" sda:1:2:3:4:5" * 15,
        b"sample " + b"1" * 5000,
    ],
)
def test_nonsense_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        parse_line(line)


def test_two_readings_make_an_impact() -> None:
    made = impact()
    assert (made.seconds, made.is_paused, made.cpu) == (2.0, True, 0.25)
    assert (made.cpu_pressure, made.io_pressure, made.memory_pressure) == (0.5, 0.25, 0.0)
    assert (made.disk_busy, made.disk_wait_ms) == (0.25, 5.0)
    assert (made.read_bytes_s, made.written_bytes_s, made.network_bytes_s) == (512 * 1024, 0, 1024)
    assert (made.available_bytes, made.cached_bytes) == (MIB, MIB // 2)


def test_what_went_back_or_stood_still_is_no_change() -> None:
    first, second = reading(FIRST), reading(SECOND)
    assert compare(first, first) is None
    back = compare(replace(second, uptime_s=1.0), replace(first, uptime_s=2.0))
    assert back is not None
    assert (back.cpu, back.io_pressure, back.disk_busy, back.network_bytes_s) == (0, 0, 0, 0)


def test_a_kernel_without_pressure_has_none() -> None:
    first = reading(OLD_KERNEL)
    made = compare(first, replace(first, uptime_s=102.0))
    assert made is not None
    assert (made.io_pressure, made.available_bytes, made.disk_busy) == (None, None, 0)


def test_a_receipt_weighs_by_time_and_knows_the_minute_before() -> None:
    before, during = Tally(), Tally()
    before.add(impact(seconds=1, io_pressure=0.9, cpu=0.1))
    for seconds, pressure in ((1, 0.6), (3, 0.2)):
        during.add(impact(seconds=seconds, io_pressure=pressure, memory_pressure=None))
    receipt = make_receipt(Baseline(0.01, 0.02, None), before, during, pauses=2, paused_s=3.0)
    assert receipt.seconds == 4
    assert receipt.io_pressure.before == 0.02
    assert receipt.io_pressure.mean == pytest.approx(0.3)
    assert receipt.io_pressure.worst == 0.6
    assert (receipt.memory_pressure.before, receipt.memory_pressure.mean) == (0.0, None)
    assert (receipt.cpu.before, receipt.cpu.mean, receipt.cpu.worst) == (0.1, 0.25, 0.25)
    assert (receipt.pauses, receipt.paused_s) == (2, 3.0)


def test_the_watcher_tells_each_event_and_each_sentence_once() -> None:
    told: list[Event] = []
    watcher = Watcher(told.append)
    assert watcher.receipt() is None
    watcher.take(parse_line(b"baseline 0.00 - -"))
    watcher.take(parse_line(FIRST))
    watcher.begin()
    watcher.take(parse_line(SECOND))
    for _ in range(3):
        watcher.take(parse_line(b"hurried 1234 150 9500"))
        watcher.take(parse_line(b"paused 1234 205 8100 backup"))
    receipt = watcher.receipt()
    assert receipt is not None
    assert (receipt.pauses, receipt.seconds) == (3, 2.0)
    assert receipt.paused_s == pytest.approx(6.15)
    assert [type(event) for event in told].count(Throttled) == 3
    sentences = [event.text for event in told if isinstance(event, Said)]
    assert len(sentences) == 3
    assert "PSI" in sentences[0] and "never free" in sentences[1] and "81%" in sentences[2]


def test_limits_tell_go_and_restic() -> None:
    assert NO_LIMITS.environment == {}
    assert Limits().environment == {
        "GOMAXPROCS": "1",
        "GOMEMLIMIT": str(200 * MIB),
        "RESTIC_READ_CONCURRENCY": "1",
    }
    assert Limits().for_files(4 * MIB).memory_bytes == (300 + 1024) * MIB
    assert NO_LIMITS.for_files(10**9) == NO_LIMITS


@pytest.mark.parametrize(
    "words", [{"pressure_budget": 1.1}, {"pressure_budget": -0.1}, {"longest_pause_s": 0},
              {"longest_pause_s": 121}, {"memory_bytes": 1}]
)  # fmt: skip
def test_limits_that_no_device_can_keep_are_refused(words: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"pause|share|MiB"):
        replace(Limits(), **words)
