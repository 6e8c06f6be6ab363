"""Whoever dies at whatever step: within its deadline the device is as it was, and its service runs.

The source is cold on btrfs: what is at stake is a stopped service, a snapshot, a mount and a restic. Every
step that a run asks of the device is a boundary; at each one every one of VICTIMS dies. By default each
boundary has one or two victims, in turn; HOTFLEET_CAMPAIGN=full runs all of them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.plan import SourceRequest
from tests.live.cold_ground import Ledger, what_is_torn
from tests.live.flows import Console, wait_until_clean
from tests.live.ground import Device, wait_until
from tests.live.workers import Worker

VICTIMS = ("worker", "silent worker", "runner", "sshd", "restic")
# What a run asks of the device from its first undo step on. When the flow changes, the first test says so.
STEPS = 14
CLEAN_WITHIN_S = 60
IS_FULL = os.environ.get("HOTFLEET_CAMPAIGN") == "full"


class SteppingWorker(Worker):
    """A backup in a process of its own that stands still before each step."""

    def __init__(self, console: Console, ledger: Ledger) -> None:
        super().__init__(console, ledger.data, services=(ledger.name,), module="kill_child")

    @property
    def steps(self) -> list[str]:
        return [line.split()[2] for line in list(self.lines) if line.startswith("step ")]

    def go_to(self, step: int) -> str:
        """Let it go on until it stands before this step; return the step's verb, "" when it ended before."""
        for number in range(1, step + 1):
            wait_until(
                lambda: len(self.steps) >= number or self.is_over,  # noqa: B023 - called at once
                timeout_s=180,
                what=f"step {number}",
            )
            if len(self.steps) < number:
                return ""
            if number < step:
                self.send("\n")
        return self.steps[step - 1]

    def go_on(self) -> None:
        """Let it go on without waiting any more."""
        assert self.process.stdin is not None
        self.process.stdin.close()


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    assert device.btrfs.exists()
    return Console(device, tmp_path)


@pytest.fixture
def ledger(console: Console, tmp_path: Path) -> Iterator[Ledger]:
    name = f"hotfleet-kill-{console.id}"
    with Ledger(console.device.btrfs / "ledger", tmp_path / "state", name) as ledger:
        ledger.start()
        yield ledger


def test_without_a_death_it_is_a_good_backup(console: Console, ledger: Ledger) -> None:
    worker = SteppingWorker(console, ledger)
    try:
        worker.go_on()
        wait_until(lambda: worker.is_over, timeout_s=120, what="the end of the backup")
        worker.wait_for("done")
        assert {"owe", "run", "settle", "write", "start", "started", "close"} <= set(worker.steps)
        assert len(worker.steps) == STEPS, worker.steps
    finally:
        worker.close()
    assert_good(console, ledger)


def die(victim: str, worker: SteppingWorker, device: Device) -> bool:
    """Kill the victim. Return False when there is none at this step."""
    if victim == "worker":
        worker.process.kill()
        return True
    if victim == "silent worker":
        worker.process.send_signal(signal.SIGSTOP)
        return True
    if victim == "runner":
        places = (Path("/run/hotfleet"), Path("/dev/shm/hotfleet"))  # whichever is a tmpfs
        (record,) = (each for place in places for each in place.glob(f"hotfleet-*-{worker.run_id}/runner"))
        pids = [int(record.read_text().split()[0])]
    elif victim == "sshd":
        pids = [pid for pid in device.session_pids() if name_of(pid) == "sshd"]
    else:
        pids = [pid for pid in device.session_pids() if name_of(pid) == "restic"]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    worker.go_on()
    return bool(pids)


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def assert_good(console: Console, ledger: Ledger, *, is_connected: bool = False) -> None:
    """The device is as it was: nothing of ours, one service that writes, a file system that takes it."""
    wait_until_clean(console, own=lambda: ledger.daemons, is_connected=is_connected, timeout_s=CLEAN_WITHIN_S)
    before = (ledger.data / "credit").stat().st_size
    wait_until(lambda: (ledger.data / "credit").stat().st_size > before, what="the service writing")
    (ledger.data / "probe").write_text("the file system is writable")
    # Each end had one start, and nobody started a second daemon beside the first.
    stops = ledger.calls.count("stop")
    assert stops <= 1 and ledger.calls[-1] == "start", ledger.calls
    assert len(ledger.starts) == 1 + stops, ledger.starts
    assert ledger.daemons == [ledger.pid]


def cases() -> list[tuple[int, str]]:
    steps = range(1, STEPS + 1)
    if IS_FULL:
        return [(step, victim) for step in steps for victim in VICTIMS]
    return [
        (step, VICTIMS[(step + turn) % len(VICTIMS)]) for step in steps for turn in (0, 2)[: 1 + step % 2]
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("step", "victim"), cases())
def test_the_device_heals(console: Console, ledger: Ledger, step: int, victim: str) -> None:
    worker = SteppingWorker(console, ledger)
    try:
        assert worker.go_to(step), worker.lines
        has_died = die(victim, worker, console.device)
        assert_good(console, ledger, is_connected=victim == "silent worker")
        if has_died and victim != "silent worker":
            wait_until(lambda: worker.is_over, timeout_s=CLEAN_WITHIN_S, what="the end of the worker")
    finally:
        worker.close()
    if step % 10 == 0:  # what is left over may not hinder the next one
        (point,) = console.back_up(
            SourceRequest(str(ledger.data), mode="cold", services=(ledger.name,))
        ).points
        target = Path("/var/lib") / f"restored-{console.id}"
        try:
            console.restore(point.restic_id, ledger.data, target)
            assert what_is_torn(target) == []
        finally:
            subprocess.run(["rm", "-rf", str(target)], check=True)
