"""Whoever dies at whatever step of a swap: all that was picked is old or all is new, and nothing is left.

As in `test_kill_matrix`: every step is a boundary, at each one every one of VICTIMS dies. By default each
boundary has one victim, in turn; HOTFLEET_CAMPAIGN=full runs all of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.live.flows import Console, assert_device_is_clean, wait_until_clean
from tests.live.ground import Device, wait_until
from tests.live.restore_child import PICKED
from tests.live.test_kill_matrix import CLEAN_WITHIN_S, IS_FULL, VICTIMS, SteppingWorker, die
from tests.live.workers import Worker

# What a restore asks of the device from its first undo step on. When the flow changes, a test says so.
STEPS = 11


class SteppingRestore(SteppingWorker):
    """A restore in a process of its own that stands still before each step."""

    def __init__(self, console: Console, folder: Path) -> None:
        Worker.__init__(self, console, folder, module="restore_child")


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def data(console: Console) -> Path:
    return console.device.btrfs / "data"


@pytest.fixture
def damaged(console: Console, data: Path) -> Path:
    """What was backed up, and changed since then: one folder is gone."""
    for name in PICKED:
        (data / name).mkdir(parents=True)
        for number in range(20):
            (data / name / str(number)).write_text("point")
    console.back_up(data)
    for name in ("one", "two"):
        for path in (data / name).iterdir():
            path.write_text("old")
        (data / name / "only old").write_text("old")
    subprocess.run(["rm", "-rf", data / "far"], check=True)
    return data


def state(data: Path) -> str:
    """Return "old", "new", or what is wrong."""
    names = {name: (data / name).is_dir() for name in ("one", "two", "far", "far/three")}
    texts = {path.read_text() for path in data.rglob("*") if path.is_file()}
    is_old = all((data / name / "only old").exists() for name in ("one", "two"))
    count = sum(path.is_file() for path in data.rglob("*"))
    if names == {"one": True, "two": True, "far": False, "far/three": False}:
        return "old" if (texts, is_old, count) == ({"old"}, True, 42) else f"{texts} {count}"
    if all(names.values()):
        return "new" if (texts, is_old, count) == ({"point"}, False, 60) else f"{texts} {count}"
    return str(names)


def test_without_a_death_it_is_new(console: Console, damaged: Path) -> None:
    worker = SteppingRestore(console, damaged)
    try:
        worker.go_on()
        wait_until(lambda: worker.is_over, timeout_s=120, what="the end of the restore")
        worker.wait_for("done")
        assert len(worker.steps) == STEPS, worker.steps
    finally:
        worker.close()
    assert state(damaged) == "new"
    assert_device_is_clean(console)


def cases() -> list[tuple[int, str]]:
    steps = range(1, STEPS + 1)
    if IS_FULL:
        return [(step, victim) for step in steps for victim in VICTIMS]
    return [(step, VICTIMS[step % len(VICTIMS)]) for step in steps]


@pytest.mark.slow
@pytest.mark.parametrize(("step", "victim"), cases())
def test_all_is_old_or_all_is_new(console: Console, damaged: Path, step: int, victim: str) -> None:
    worker = SteppingRestore(console, damaged)
    try:
        assert worker.go_to(step), worker.lines
        die(victim, worker, console.device)
        wait_until_clean(console, is_connected=victim == "silent worker")
        if victim == "silent worker":
            worker.process.kill()
        wait_until(lambda: worker.is_over, timeout_s=CLEAN_WITHIN_S, what="the end of the worker")
        assert state(damaged) in ("old", "new")
        if worker.lines[-1] == "done":
            assert state(damaged) == "new"
    finally:
        worker.close()
