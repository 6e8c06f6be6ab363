"""Pauses of a backup: real processes and signals, both shells. States, never times.

Others use this machine's disks too: where it matters who makes the pressure, the kernel's files are ours.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agents.binds import Limits
from agents.commands import Command
from agents.events import Event, Impact, Said, Throttled
from agents.runner import Runner, SupervisedProgram
from agents.watching import watch_device
from tests.live.ground import Device, wait_until
from tests.live.shells import SHELLS, open_run, rewrite_program

pytestmark = pytest.mark.one_shell

CONSOLE = f"p{os.getpid()}"
EAGER = Limits(None, None, None, None, None, pressure_budget=0.1)
# Each write waits until it is on the disk.
DD = 'dd if=/dev/zero of="$0$n" bs=4k oflag=direct,dsync conv=notrunc status=none'
# Three at once, each waiting for each write.
WRITING = f"for n in 1 2 3; do while :; do {DD} count=5000; done & done; wait"
# Touches no disk: who waits for one cannot be stopped until it answers.
COUNTING = "n=0; while [ $n -lt 50 ]; do n=$((n+1)); sleep 0.1; done; exit 7"


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def runner(live_ground: None, shell: str, told: list[Event]) -> Iterator[Runner]:
    with open_run(shell, CONSOLE, told) as runner:
        yield runner


def forget_last_minute(runner: Runner) -> None:
    """The minute before belongs to the test before."""
    rewrite_program(runner.directory, lambda text: text.replace("minute=${minutes#avg60=}", "minute=0.08"))


@pytest.fixture
def disk(device: Device) -> Path:
    return device.make_file_system("ext4", size_mb=256)


@pytest.fixture
def application() -> Iterator[Callable[[str, Path], None]]:
    """Start scripts that are not of the run; they are gone after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(script: str, path: Path) -> None:
        running.append(subprocess.Popen(["sh", "-c", script, str(path)], start_new_session=True))

    yield start
    for process in running:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Kernel:
    """A kernel's files for one run: pressure and a disk, which depend on whether `pid` is stopped."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self.running, self.stopped, self.busy_when_stopped = 0.9, 0.0, 0.5
        self.pid: int | None = None
        self._pressure, self._disk = folder / "pressure", folder / "block" / "vda"
        self._waited_us, self._busy_ms = 0.0, 0.0
        self._pressure.mkdir()
        (self._disk / "device").mkdir(parents=True)
        self._write()
        blocks = f"{self._disk.parent}/"
        rewrite_program(runner.directory, lambda text: text.replace("/sys/block/", blocks))
        rewrite_program(runner.directory, lambda text: text.replace("/proc/pressure/", f"{self._pressure}/"))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(0.05):
            now = time.monotonic()
            is_stopped = self.pid is not None and state(self.pid) == "T"
            share = self.stopped if is_stopped else self.running
            share = 0.0 if self.pid is None else share
            self._waited_us += share * (now - last) * 1e6
            self._busy_ms += (self.busy_when_stopped if is_stopped else 1.0) * (now - last) * 1000
            last = now
            self._write()

    def _write(self) -> None:
        line = f"avg10=0.00 avg60=0.08 avg300=0.00 total={round(self._waited_us)}\n"
        for name in ("cpu", "io", "memory"):
            self._replace(self._pressure / name, f"some {line}full {line}")
        self._replace(self._disk / "stat", f"1 0 8 1 1 0 8 1 0 {round(self._busy_ms)} 0\n")

    @staticmethod
    def _replace(path: Path, text: str) -> None:
        new = path.with_name(f".{path.name}")
        new.write_text(text)
        new.rename(path)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture
def kernel(runner: Runner, tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(runner, tmp_path)
    yield kernel
    kernel.close()


def start(runner: Runner, script: str, path: Path, limits: Limits = EAGER) -> tuple[SupervisedProgram, int]:
    words = Command.of("sh", "-c", f"echo $$; {script}", str(path))
    program = runner.start(words, environment={}, limits=limits)
    return program, int(program.read(timeout_s=60).split()[0])


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


def wait_for_pause(pid: int) -> None:
    wait_until(lambda: state(pid) in ("T", "gone", "Z"), timeout_s=120, what="a pause")
    assert state(pid) == "T"


def reasons(told: list[Event]) -> list[str]:
    return [event.reason for event in told if isinstance(event, Throttled)]


def watcher_pid(runner: Runner, program: SupervisedProgram) -> int:
    (record,) = (
        path for path in Path(runner.directory, "groups").iterdir() if path.name != str(program.number)
    )
    return int(record.read_text().split()[0])


def test_real_pressure_of_others_is_theirs_and_the_program_ends_well(
    runner: Runner, told: list[Event], disk: Path, tmp_path: Path, application: Callable[[str, Path], None]
) -> None:
    """The real kernel, and all of the pressure is others': it goes on slowly, and says whose fault it is."""
    application(WRITING, disk / "theirs")
    forget_last_minute(runner)
    with watch_device(runner, EAGER, told.append) as watcher:
        watcher.begin()
        program, pid = start(runner, COUNTING, tmp_path / "count")
        wait_for_pause(pid)
        wait_until(lambda: "others" in reasons(told), timeout_s=60, what="the finding that it is others")
        wait_until(lambda: state(pid) != "T", timeout_s=120, what="its going on")
        receipt = watcher.receipt()
    assert program.wait(timeout_s=60) == 7
    assert any(isinstance(event, Said) and "others do it" in event.text for event in told)
    assert receipt is not None and receipt.pauses >= 1
    assert receipt.io_pressure.worst is not None and receipt.io_pressure.worst > 0.1


def test_pressure_that_goes_with_the_pause_is_the_backup_s_and_pauses_grow(
    runner: Runner, told: list[Event], tmp_path: Path, kernel: Kernel
) -> None:
    with watch_device(runner, replace(EAGER, longest_pause_s=3), told.append):
        program, pid = start(runner, "exec sleep 60", tmp_path / "count")
        kernel.pid = pid
        wait_until(lambda: len(reasons(told)) >= 4, timeout_s=60, what="four pauses")
        runner.stop(program)
    assert set(reasons(told)) == {"backup"}
    looks = pauses_in_looks(told)
    assert looks[:2] == [2, 3]  # twice as long each time
    assert max(looks) == 4  # and never longer than allowed


def test_a_backup_that_is_alone_is_left_alone(
    runner: Runner, told: list[Event], tmp_path: Path, kernel: Kernel
) -> None:
    """Its own waiting is no reason to wait. On a busy machine it may take more than one pause to see that."""
    kernel.busy_when_stopped = 0.0
    with watch_device(runner, EAGER, told.append):
        program, pid = start(runner, "exec sleep 100", tmp_path / "count")
        kernel.pid = pid
        wait_until(lambda: "alone" in reasons(told), timeout_s=90, what="the finding that nobody is there")
        pauses = len(reasons(told))
        looks = len(told)
        wait_until(lambda: len(told) > looks + 4, timeout_s=120, what="four more looks")
        assert len(reasons(told)) == pauses  # the pressure is as high as before
        runner.stop(program)


def test_a_calm_device_pauses_nothing(
    runner: Runner, told: list[Event], tmp_path: Path, kernel: Kernel
) -> None:
    kernel.running = 0.05
    with watch_device(runner, EAGER, told.append):
        program, pid = start(runner, COUNTING, tmp_path / "count")
        kernel.pid = pid
        assert program.wait(timeout_s=60) == 7
    assert reasons(told) == []


@pytest.mark.parametrize("victims", [("watcher",), ("watcher", "reaper")])
def test_a_program_goes_on_when_they_were_killed_in_its_pause(
    runner: Runner, told: list[Event], tmp_path: Path, kernel: Kernel, victims: tuple[str, ...]
) -> None:
    """The reaper lets it go; the listener starts another reaper with the next heartbeat."""
    with watch_device(runner, EAGER, told.append):
        program, pid = start(runner, COUNTING, tmp_path / "count")
        kernel.pid = pid
        wait_for_pause(pid)
        pids = {
            "watcher": watcher_pid(runner, program),
            "reaper": int(Path(runner.directory, "reaper").read_text().split()[0]),
        }
        for victim in victims:
            os.kill(pids[victim], signal.SIGKILL)
        assert state(pid) == "T"
        assert program.wait(timeout_s=60) == 7
    assert not Path(runner.directory, "paused").exists()


def test_a_paused_program_can_be_stopped_gently(
    runner: Runner, told: list[Event], tmp_path: Path, kernel: Kernel
) -> None:
    with watch_device(runner, EAGER, told.append):
        trap = 'trap "echo gentle >$0.end; exit 0" TERM; '
        program, pid = start(runner, trap + COUNTING, tmp_path / "count")
        kernel.pid = pid
        wait_for_pause(pid)
        runner.stop(program)
    assert (tmp_path / "count.end").read_text() == "gentle\n"  # TERM, not KILL after it
    assert state(pid) in ("gone", "Z")


def test_a_run_that_ends_in_a_pause_leaves_nothing(
    runner: Runner, told: list[Event], tmp_path: Path, kernel: Kernel
) -> None:
    with watch_device(runner, EAGER, told.append):
        _, pid = start(runner, COUNTING, tmp_path / "count")
        kernel.pid = pid
        wait_for_pause(pid)
        os.kill(int(Path(runner.directory, "runner").read_text().split()[0]), signal.SIGKILL)
        wait_until(lambda: not Path(runner.directory).exists(), timeout_s=120, what="the end of the run")
    assert state(pid) in ("gone", "Z")


def test_the_end_of_the_watcher_ends_a_pause(
    runner: Runner, told: list[Event], tmp_path: Path, kernel: Kernel
) -> None:
    with watch_device(runner, EAGER, told.append):
        program, pid = start(runner, COUNTING, tmp_path / "count")
        kernel.pid = pid
        wait_for_pause(pid)
    assert not Path(runner.directory, "paused").exists()
    assert program.wait(timeout_s=60) == 7


def test_a_program_that_must_not_wait_never_does(
    runner: Runner, told: list[Event], tmp_path: Path, kernel: Kernel
) -> None:
    with watch_device(runner, EAGER, told.append):
        holder, held = start(runner, "exec sleep 60", tmp_path / "x", replace(EAGER, pressure_budget=None))
        program, pid = start(runner, COUNTING, tmp_path / "count")
        kernel.pid = pid
        wait_for_pause(pid)
        assert state(held) == "S"
        runner.stop(program)
        runner.stop(holder)


def test_a_kernel_that_measures_no_pressure_is_said_and_nothing_is_paused(
    runner: Runner, told: list[Event], tmp_path: Path
) -> None:
    rewrite_program(runner.directory, lambda text: text.replace("/proc/pressure/", "/proc/hotfleet-none/"))
    with watch_device(runner, EAGER, told.append) as watcher:
        watcher.begin()
        program, _ = start(runner, COUNTING, tmp_path / "count")
        assert program.wait(timeout_s=60) == 7
        receipt = watcher.receipt()
    assert reasons(told) == []
    assert any(isinstance(event, Said) and "PSI" in event.text for event in told)
    assert receipt is not None
    assert receipt.io_pressure.mean is None
    assert receipt.cpu.mean is not None and receipt.disk_busy.mean is not None


def pauses_in_looks(told: list[Event]) -> list[int]:
    """Return how many looks the watcher took in each pause: at its start and after each second."""
    looks, length = [], 0
    for event in told:
        if isinstance(event, Impact):
            length += event.is_paused
        elif isinstance(event, Throttled):
            looks.append(length)
            length = 0
    return looks
