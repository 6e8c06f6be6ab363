"""Blocked hours begin while a backup works on a real device: it stands still, or ends and goes on later."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from agents import resting
from agents.binds import NO_LIMITS, Limits
from agents.errors import HoursBlocked
from agents.events import Moved
from agents.resting import Block
from tests.live.flows import Console, assert_device_is_clean, picture_of
from tests.live.ground import Device

MB = 1_000_000
SIZE = 48 * MB
# Slow enough that it still works when the hours begin.
SLOW = Limits(upload_kib_s=8192)
UNLIMITED = replace(NO_LIMITS, upload_kib_s=8192)
PACES = {"gentle": SLOW, "fast": UNLIMITED}
MOST_LOOKS = 120


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def data(console: Console) -> Path:
    folder = console.device.btrfs / "data"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}").write_bytes(os.urandom(SIZE // 20))
    return folder


def sent(console: Console) -> int:
    return max((event.stored_bytes for event in console.events if isinstance(event, Moved)), default=0)


class Begin:
    """Blocked hours that begin once something was sent. `is_stop` says what the policy wants then."""

    def __init__(self, console: Console, after_bytes: int, *, is_stop: bool) -> None:
        self.console = console
        self.after_bytes = after_bytes
        self.is_stop = is_stop

    def look(self) -> Block | None:
        if sent(self.console) < self.after_bytes:
            return None
        return Block(self.is_stop, "08:00", "18:00")


class UntilStill(Begin):
    """They are over once the program of the run stood still `wanted` times, each after it went on."""

    def __init__(self, console: Console, wanted: int) -> None:
        super().__init__(console, 1, is_stop=False)
        self.wanted = wanted
        self.looks, self.stills, self.was_still = 0, 0, False

    def look(self) -> Block | None:
        block = super().look()
        if block is None or self.looks >= MOST_LOOKS or self.stills >= self.wanted:
            return None
        self.looks += 1
        is_still = "T" in states_of_restic(self.console)
        self.stills += is_still and not self.was_still
        self.was_still = is_still
        return block


def states_of_restic(console: Console) -> set[str]:
    """The states of the backup programs of this console's run, as the kernel says them."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if b"backup" in words and f"hotfleet-{console.id}-".encode() in environment + b" ".join(words):
            found.add(state)
    return found


@pytest.mark.full  # it has to be slower than a machine that does much else
def test_a_backup_that_is_stopped_goes_on_where_it_was(console: Console, data: Path) -> None:
    with pytest.raises(HoursBlocked, match="Stopped at 08:00") as caught:
        console.back_up(data, hours=Begin(console, SIZE // 2, is_stop=True), limits=SLOW)
    assert caught.value.remedy == "It goes on from there when they are over, at 18:00."
    assert_device_is_clean(console)
    first = sent(console)
    assert first < SIZE
    console.events.clear()
    (point,) = console.back_up(data).points
    assert point.is_complete
    assert point.size_bytes == SIZE
    # A pack that was half sent is sent again; what was whole is not.
    assert first + point.stored_bytes < SIZE + 20 * MB
    assert point.stored_bytes < SIZE
    restored = console.device.btrfs / "restored"
    console.restore(point.restic_id, data, restored)
    assert picture_of(restored) == picture_of(data)


@pytest.mark.parametrize(
    "limits",
    [pytest.param(limits, marks=pytest.mark.full, id=name) for name, limits in PACES.items()],
)
def test_a_backup_that_is_paused_stands_still_and_then_ends_well(
    console: Console, data: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It stands still, works for a moment so that its connection lives, and stands still again.
    monkeypatch.setattr(resting, "STILL_S", 2.0)
    hours = UntilStill(console, wanted=2)
    (point,) = console.back_up(data, hours=hours, limits=limits).points
    assert hours.stills == 2, f"seen {hours.stills} times in {hours.looks} looks"
    assert point.is_complete
    assert point.size_bytes == SIZE
    assert "Paused at 08:00: the hours until 18:00 are blocked." in console.sentences
    assert "The blocked hours are over: the backup goes on." in console.sentences
    assert_device_is_clean(console)


def test_nothing_begins_in_hours_that_end_runs(console: Console, data: Path) -> None:
    with pytest.raises(HoursBlocked):
        console.back_up(data, hours=Begin(console, 0, is_stop=True), limits=NO_LIMITS)
    assert sent(console) == 0
    assert_device_is_clean(console)
