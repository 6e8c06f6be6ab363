"""Whatever dies, and whenever: within the deadline nothing of a run is left on the device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.ground import command, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.one_shell]

SILENCE_S = 3
STEPS = ("ready", "owed", "taken", "started", "ended", "dropped")
CONSOLE = f"t{os.getpid()}"
# where the runner looks first; /run is a plain directory in some containers
BASE = Path("/run/hotfleet" if " /run tmpfs " in Path("/proc/mounts").read_text() else "/dev/shm/hotfleet")


@pytest.fixture(scope="module")
def source(live_ground: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A btrfs subvolume with a nested one, on a file system of its own."""
    directory = tmp_path_factory.mktemp("btrfs")
    image, mount_point = directory / "image", directory / "mnt"
    command("truncate", "-s", "256M", image)
    command("mkfs.btrfs", "-q", image)
    mount_point.mkdir()
    command("mount", "-o", "loop", image, mount_point)
    data = mount_point / "data"
    for subvolume in (data, data / "nested"):
        command("btrfs", "subvolume", "create", subvolume)
        (subvolume / "file").write_text("content\n")
    yield data
    command("umount", mount_point)
    image.unlink()


class Console:
    """The child process, driven to a step."""

    def __init__(self, shell: str, run_id: str, source: Path) -> None:
        self.run_id = run_id
        self.source = source
        self.name = f"hotfleet-{CONSOLE}-{run_id}"
        self.directory = BASE / self.name
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tests.live.runner_child", shell, CONSOLE, run_id, source, str(SILENCE_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pids: set[int] = set()

    def next_line(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()

    def proceed(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def reach(self, step: str) -> None:
        """Let it work until it waits at `step`, then remember every process that the run recorded."""
        while (line := self.next_line()) != f"step {step}":
            assert line.startswith("step "), line
            self.proceed()
        for name in ("runner", "reaper", "listener"):
            self.pids.add(self.pid_of(name))
        if step == "started":
            self.pids |= set(self.group_of_the_program())
        self.pids.discard(self.child.pid)

    def pid_of(self, record: str) -> int:
        """Return whose record it is: the one who starts writes it, in its own time."""
        path = self.directory / record
        wait_until(lambda: read_record(path) != [], what=f"the record of the {record}")
        return int(read_record(path)[0])

    def group_of_the_program(self) -> tuple[int, int]:
        """Return the program's process and the one that holds it, as soon as they are recorded."""
        wait_until(
            lambda: [*map(read_record, self.directory.glob("groups/*"))] not in ([], [[]]), what="a group"
        )
        (record,) = self.directory.glob("groups/*")
        pid, _, holder, _ = map(int, read_record(record))
        return pid, holder

    def finish(self) -> str:
        """Let it work to its end and return what it said last."""
        self.proceed()
        while (line := self.next_line()).startswith("step "):
            self.proceed()
        self.child.wait(60)
        return line

    def traces(self) -> list[str]:
        """Return everything of the run that is on the device now."""
        found = [f"process {pid}" for pid in self.pids if is_running(pid)]
        found += [f"process {pid} {words}" for pid, words in processes() if self.name in words]
        found += [str(path) for path in (self.directory, *self.source.rglob(".hotfleet-*")) if path.exists()]
        found += [line for line in Path("/proc/mounts").read_text().splitlines() if self.name in line]
        listed = command("btrfs", "subvolume", "list", self.source).stdout
        return found + [line for line in listed.splitlines() if ".hotfleet-" in line]

    def wait_until_clean(self, timeout_s: float) -> None:
        wait_until(lambda: not self.traces(), timeout_s=timeout_s, what=f"no trace (now: {self.traces()})")

    def close(self) -> None:
        self.child.kill()
        self.child.wait()


def read_record(path: Path) -> list[str]:
    """Return the words of a record; none when it is not there, or not written yet."""
    try:
        return path.read_text().split()
    except FileNotFoundError:
        return []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes() -> Iterator[tuple[int, str]]:
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            words = (directory / "cmdline").read_bytes() + (directory / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        yield int(directory.name), words.decode(errors="replace")


Start = Callable[..., Console]


@pytest.fixture
def start(source: Path) -> Iterator[Start]:
    consoles: list[Console] = []

    def make(shell: str = "dash") -> Console:
        consoles.append(Console(shell, f"r{time.monotonic_ns():x}", source))
        return consoles[-1]

    yield make
    for console in consoles:
        console.close()
        console.wait_until_clean(60)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_a_killed_console_leaves_nothing(start: Start, shell: str, step: str) -> None:
    console = start(shell)
    console.reach(step)
    assert console.traces()
    os.kill(console.child.pid, signal.SIGKILL)
    console.wait_until_clean(SILENCE_S + 600)


@pytest.mark.parametrize("step", STEPS)
def test_a_stopped_console_is_reaped_and_learns_it(start: Start, step: str) -> None:
    console = start()
    console.reach(step)
    os.kill(console.child.pid, signal.SIGSTOP)
    console.wait_until_clean(SILENCE_S + 60)
    os.kill(console.child.pid, signal.SIGCONT)
    assert console.finish().startswith(("failed device-healed", "failed connection-lost"))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("record", ["runner", "listener"])
def test_a_killed_supervisor_leaves_nothing(start: Start, record: str, step: str) -> None:
    console = start()
    console.reach(step)
    os.kill(console.pid_of(record), signal.SIGKILL)
    console.wait_until_clean(SILENCE_S + 600)
    assert console.finish().startswith(("failed device-healed", "failed connection-lost"))


def test_a_killed_reaper_comes_back(start: Start) -> None:
    console = start()
    console.reach("taken")
    first = console.pid_of("reaper")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: console.pid_of("reaper") != first, timeout_s=60, what="a new reaper")
    os.kill(console.child.pid, signal.SIGKILL)
    console.wait_until_clean(SILENCE_S + 600)


def test_the_second_reaper_heals_what_the_first_cannot(start: Start) -> None:
    """What systemd's timer starts, without systemd: it acts only when the reaper and the run are dead."""
    console = start()
    console.reach("taken")
    second = ("/bin/sh", console.directory / "program", "second", console.directory)
    command(*second)
    assert console.directory.exists()  # the reaper lives: nothing to do
    for record in ("listener", "reaper", "runner"):
        os.kill(console.pid_of(record), signal.SIGKILL)
    time.sleep(SILENCE_S)
    assert console.directory.exists()
    command(*second)
    console.wait_until_clean(60)


def test_the_second_reaper_works_for_a_first_that_was_stopped(start: Start) -> None:
    console = start()
    console.reach("taken")
    second = ("/bin/sh", console.directory / "program", "second", console.directory)
    os.kill(console.pid_of("reaper"), signal.SIGSTOP)
    command(*second)
    assert console.directory.exists()  # the run lives: nothing to do
    for record in ("listener", "runner"):
        os.kill(console.pid_of(record), signal.SIGKILL)
    time.sleep(SILENCE_S)
    assert console.directory.exists()
    command(*second)
    console.wait_until_clean(60)


def test_a_killed_program_does_not_hurt_the_run(start: Start) -> None:
    console = start()
    console.reach("started")
    os.kill(console.group_of_the_program()[0], signal.SIGKILL)
    assert console.finish() == "finished"
    console.wait_until_clean(60)


def test_a_program_does_not_outlive_what_holds_it(start: Start) -> None:
    console = start()
    console.reach("started")
    pid, holder = console.group_of_the_program()
    os.kill(holder, signal.SIGKILL)
    wait_until(lambda: not is_running(pid), timeout_s=40, what="the end of the program")


def test_a_run_that_nothing_happens_to_leaves_nothing(start: Start) -> None:
    console = start()
    console.reach("ready")
    assert console.finish() == "finished"
    console.wait_until_clean(60)
