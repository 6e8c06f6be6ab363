"""Cold: what is backed up stands still, goes on in time whatever dies, and what stood before still stands.

About 3 minutes on two cores; HOTFLEET_CAMPAIGN=full adds the other deaths (4 minutes more)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.errors import AgentError, FreezeTooLong, QuiesceFailed, ServiceDown
from agents.events import Consistency, Froze
from agents.flow import Unstoppable
from agents.plan import SourceRequest
from agents.resting import Block
from tests.live.cold_ground import Ledger, what_is_torn
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.workers import Worker

IS_FULL = os.environ.get("HOTFLEET_CAMPAIGN") == "full"
# Who dies, on which file system, and where the service is then. Every fourth has one of each.
DEATHS = [
    (fault, ground, when)
    for ground, when in (("btrfs", "stopping"), ("ext4", "stopping"), ("ext4", "stopped"))
    for fault in ("kill", "stop", "cut")
]


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture(params=["btrfs", "ext4"])
def ground(console: Console, request: pytest.FixtureRequest) -> Path:
    """A file system of the device that can be snapshotted, and one that cannot."""
    device = console.device
    assert device.btrfs.exists()
    return device.btrfs if request.param == "btrfs" else device.make_file_system("ext4")


@pytest.fixture
def ledger(console: Console, ground: Path, tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(ground / "ledger", tmp_path / "state", f"hotfleet-cold-{console.id}") as ledger:
        ledger.start()
        yield ledger


def request_for(ledger: Ledger, *others: str, downtime_s: int = 60) -> SourceRequest:
    return SourceRequest(
        str(ledger.data), mode="cold", services=(ledger.name, *others), longest_downtime_s=downtime_s
    )


def restored(console: Console, restic_id: str, ledger: Ledger, check: Callable[[Path], object]) -> object:
    target = Path("/var/lib") / f"restored-{console.id}"
    try:
        console.restore(restic_id, ledger.data, target)
        return check(target)
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)


def assert_clean(console: Console, ledger: Ledger) -> None:
    """The daemon belongs to the device: it was started there."""
    (ledger.state / "slow").unlink(missing_ok=True)
    ledger.call("stop")
    assert_device_is_clean(console)


def read_link(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(path)
    return ""


def downtime_of(console: Console) -> Froze:
    (receipt,) = [event for event in console.events if isinstance(event, Froze) and event.is_stop]
    return receipt


def test_a_cold_copy_is_of_a_service_that_stood_still_and_runs_again(
    console: Console, ledger: Ledger, ground: Path
) -> None:
    (ledger.data / "large").write_bytes(os.urandom(30_000_000))
    os.sync()
    before = ledger.pid
    (point,) = console.back_up(request_for(ledger)).points
    assert ledger.runs and ledger.pid != before
    assert ledger.calls == ["start", "stop", "start"]
    assert (point.consistency, point.is_complete) == (Consistency.APPLICATION, True)
    assert restored(console, point.restic_id, ledger, what_is_torn) == []
    receipt = downtime_of(console)
    assert 0 < receipt.milliseconds < 60_000
    assert [step.name.split(" ")[0] for step in receipt.steps][0::2][0] == "stop"
    print(f"downtime {ground.name}: {receipt.milliseconds:.0f} ms {receipt.steps}")
    warm = [text for text in console.sentences if "read once while its services ran" in text]
    assert len(warm) == (ground.name == "ext4"), "on a file system without snapshots a warm pass comes first"
    assert_clean(console, ledger)


def test_a_service_starts_as_at_boot_and_inherits_nothing_of_a_run(console: Console, ledger: Ledger) -> None:
    console.back_up(request_for(ledger))
    at_boot, by_us = (line.split(" ", 1)[1] for line in ledger.starts)
    assert by_us == at_boot.replace("True", "False"), "mask, Ctrl-C ignored, descriptors"
    words = Path(f"/proc/{ledger.pid}/environ").read_bytes()
    assert b"HOTFLEET" not in words
    # What it opens by itself comes and goes, between the look into the folder and the one at the link too.
    own = str(ledger.data)
    opened = [each for each in map(read_link, Path(f"/proc/{ledger.pid}/fd").iterdir()) if own not in each]
    assert not [each for each in opened if "hotfleet-" in each]
    assert_clean(console, ledger)


@pytest.mark.parametrize("ground", ["ext4"], indirect=True)
def test_hours_that_begin_while_a_service_stands_still_interrupt_nothing(
    console: Console, ledger: Ledger
) -> None:
    class WhileItStands:
        def look(self) -> Block | None:
            return None if ledger.runs else Block(True, "08:00", "18:00")

    (point,) = console.back_up(request_for(ledger), hours=WhileItStands()).points
    assert point.is_complete
    assert ledger.calls == ["start", "stop", "start"]
    assert_clean(console, ledger)


@pytest.mark.parametrize("ground", ["btrfs"], indirect=True)
def test_a_live_copy_of_the_same_service_is_torn(console: Console, ledger: Ledger) -> None:
    """The negative control: the check can fail."""
    (point,) = console.back_up(ledger.data).points
    assert point.consistency is Consistency.CRASH
    assert restored(console, point.restic_id, ledger, what_is_torn) != []
    assert ledger.calls == ["start"]
    assert_clean(console, ledger)


def test_what_stood_before_still_stands(console: Console, ledger: Ledger) -> None:
    ledger.call("stop")
    (point,) = console.back_up(request_for(ledger)).points
    assert not ledger.runs and ledger.calls == ["start", "stop"]
    assert any("neither stopped nor started" in text for text in console.sentences)
    assert restored(console, point.restic_id, ledger, what_is_torn) == []
    assert_clean(console, ledger)


@pytest.mark.parametrize("ground", ["btrfs"], indirect=True)
def test_a_service_that_nobody_can_ask_is_not_called_cold(console: Console, ledger: Ledger) -> None:
    with pytest.raises(QuiesceFailed) as failure:
        console.back_up(request_for(ledger, "no-such-service-anywhere"))
    assert "nobody knows whether no-such-service-anywhere runs" in failure.value.detail
    assert ledger.runs, "what was stopped before runs again"
    assert console.count_restore_points() == 0
    assert_clean(console, ledger)


def test_a_service_that_does_not_start_is_the_loudest_error_and_the_device_goes_on_trying(
    console: Console, ledger: Ledger
) -> None:
    (ledger.state / "refuse-start").touch()
    try:
        with pytest.raises(ServiceDown, match="does not run again"):
            console.back_up(request_for(ledger))
        assert not ledger.runs
        tried = len(ledger.calls)
        wait_until(lambda: len(ledger.calls) > tried, timeout_s=60, what="another try of the reaper")
    finally:
        (ledger.state / "refuse-start").unlink()
    wait_until(lambda: ledger.runs, timeout_s=60, what="the service that the reaper starts")
    wait_until(lambda: not leftovers(console), timeout_s=60, what="the end of the run")
    assert ledger.runs
    assert_clean(console, ledger)


@pytest.mark.parametrize("ground", ["btrfs"], indirect=True)
def test_a_service_that_somebody_starts_meanwhile_is_no_cold_copy(
    console: Console, ledger: Ledger, tmp_path: Path
) -> None:
    """Another service of the policy takes long to stop: time for somebody to start the first."""
    with Ledger(console.device.btrfs / "other", tmp_path / "other", f"{ledger.name}-other") as other:
        other.start()
        (other.state / "slow").write_text("3")
        worker = ColdWorkerThread(console, request_for(ledger, other.name))
        wait_until(lambda: "stop" in ledger.calls and not ledger.runs, timeout_s=120, what="the stop")
        # Its init script removes the file at the very end: a start before that would lose its own.
        wait_until(lambda: not (ledger.state / "pid").exists(), what="the end of its stop")
        ledger.call("start")
        assert isinstance(worker.failure(), QuiesceFailed)
        assert other.runs and ledger.runs
        other.call("stop")
    assert_clean(console, ledger)


def test_a_downtime_over_the_limit_ends_on_the_device_and_fails_the_run(
    console: Console, ledger: Ledger
) -> None:
    (ledger.state / "slow").write_text("5")
    with pytest.raises(FreezeTooLong):
        console.back_up(request_for(ledger, downtime_s=2))
    assert ledger.runs
    assert console.count_restore_points() == 0 or ledger.data.parent.name == "ext4"
    assert_clean(console, ledger)


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "ground", "when"), DEATHS if IS_FULL else DEATHS[::4], indirect=["ground"])
def test_whatever_dies_the_service_runs_again_in_time(
    console: Console, ledger: Ledger, fault: str, when: str, ground: Path
) -> None:
    """In the middle of the stop, or when it stands and its files are read (on btrfs: for milliseconds)."""
    (ledger.state / "slow").write_text("3" if when == "stopping" else "0")
    (ledger.data / "large").write_bytes(os.urandom(200_000_000))
    # Less patient than usual: tests/live/test_site_faults.py waits as long as a silent console is waited for.
    worker = Worker(console, ledger.data, services=(ledger.name,), downtime_s=30, more={"silence_s": 8})
    try:
        wait_until(lambda: "stop" in ledger.calls, timeout_s=60, what="the stop")
        if when == "stopped":
            wait_until(lambda: not ledger.runs, what="the end of the daemon")
        began = time.monotonic()
        if fault == "cut":
            console.device.cut()
        else:
            worker.process.send_signal(signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
        wait_until(lambda: "start" in ledger.calls[1:] and ledger.runs, timeout_s=60, what="the service")
        print(f"{fault} while {when} on {ground.name}: {time.monotonic() - began:.1f} s")
        time.sleep(1)
        assert ledger.runs
    finally:
        worker.close()
        console.device.heal()
    wait_until(lambda: "clean" not in os.listdir(ledger.data), what="a running ledger")
    wait_until(lambda: not leftovers(console), timeout_s=60, what="a clean device")
    assert ledger.runs, "the end of the run ends no service"
    assert_clean(console, ledger)


@pytest.mark.parametrize("ground", ["btrfs"], indirect=True)
@pytest.mark.parametrize("victim", ["runner", "busy"])
def test_a_part_of_the_run_that_is_killed_in_the_middle_of_the_stop_leaves_a_running_service(
    console: Console, ledger: Ledger, victim: str
) -> None:
    """The runner, or the very script that stops the service: the init script goes on without it, and is late
    to remove the pid file."""
    (ledger.state / "slow").write_text("3")
    (ledger.state / "late").touch()
    worker = ColdWorkerThread(console, request_for(ledger))
    wait_until(lambda: "stop" in ledger.calls, timeout_s=60, what="the stop")
    (record,) = [each for run in leftovers(console) for each in Path(run).rglob(victim) if each.is_file()]
    os.kill(int(record.read_text().split()[0]), signal.SIGKILL)
    wait_until(lambda: "start" in ledger.calls[1:] and ledger.runs, timeout_s=60, what="the service")
    assert worker.failure() is not None
    time.sleep(3)
    assert ledger.daemons == [ledger.pid] and console.count_restore_points() == 0
    wait_until(lambda: not leftovers(console), timeout_s=60, what="a clean device")
    assert ledger.runs
    assert_clean(console, ledger)


def leftovers(console: Console) -> list[str]:
    places = [Path("/run/hotfleet"), Path("/dev/shm/hotfleet")]
    return [
        str(each) for place in places if place.is_dir() for each in place.glob(f"hotfleet-{console.id}-*")
    ]


class ColdWorkerThread:
    """A backup in a thread."""

    def __init__(self, console: Console, request: SourceRequest) -> None:
        self._error: AgentError | None = None
        self._thread = threading.Thread(target=self._work, args=(console, request))
        self._thread.start()

    def _work(self, console: Console, request: SourceRequest) -> None:
        try:
            console.back_up(request, control=Unstoppable())
        except AgentError as error:
            self._error = error

    def failure(self) -> AgentError | None:
        self._thread.join(90)
        return self._error
