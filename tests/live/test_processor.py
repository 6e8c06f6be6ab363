"""A long program's share of the processor: real cgroups, real load, both shells. States, never times."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agents.backup import BackupRequest, back_up
from agents.binds import NO_LIMITS, Limits
from agents.commands import Command
from agents.events import Event, Said
from agents.flow import Unstoppable
from agents.plan import SourceRequest
from agents.runner import Runner, SupervisedProgram
from agents.watching import watch_device
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.shells import SHELLS, open_run, rewrite_program

pytestmark = pytest.mark.one_shell

CONSOLE = f"s{os.getpid()}"
# The disks of this machine are everybody's: nothing is paused unless a disk is waited for all of the time.
ONLY_NICE = Limits(10, None, None, None, None, pressure_budget=1.0)
SHARES = "109"  # nice 10, of 1024
BUSY = "while :; do :; done"


def processor_root() -> Path:
    """Return where cgroups of the processor lie, of version 1. Skip where this machine gives us none that can
    be idle (fail instead in CI); the guest's tests look at version 2."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(",") and Path(point, "cpu.idle").exists():
            return Path(point)
    if os.environ.get("CI"):
        pytest.fail("this machine has no cgroup of the processor that can be idle")
    pytest.skip("this machine has no cgroup of the processor that can be idle")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def runner(live_ground: None, shell: str, told: list[Event]) -> Iterator[Runner]:
    processor_root()
    with open_run(shell, CONSOLE, told) as runner:
        yield runner
    assert groups_of(runner.name) == []


@pytest.fixture
def contention() -> Iterator[Callable[[], None]]:
    """Two loops for each processor, until the test ends."""
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        for _ in range(2 * (os.cpu_count() or 1)):
            running.append(subprocess.Popen(["sh", "-c", BUSY], start_new_session=True))

    yield start
    for process in running:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def groups_of(name: str) -> list[Path]:
    return list(processor_root().rglob(f"{name}-*"))


def start(runner: Runner, script: str, limits: Limits = ONLY_NICE) -> tuple[SupervisedProgram, int]:
    program = runner.start(Command.of("sh", "-c", f"echo $$; {script}"), environment={}, limits=limits)
    return program, int(program.read(timeout_s=60).split()[0])


def group_of(runner: Runner, pid: int) -> Path:
    (group,) = groups_of(runner.name)
    assert members(group) == [str(pid)]
    return group


def members(group: Path) -> list[str]:
    return (group / "cgroup.procs").read_text().split()


def read(group: Path, file: str) -> str:
    return (group / file).read_text().strip()


def wait_for(group: Path, idle: str) -> None:
    what = "the idle class" if idle == "1" else "its own weight"
    wait_until(lambda: read(group, "cpu.idle") == idle, timeout_s=60, what=what)


def change_program(runner: Runner, old: str, new: str) -> None:
    """Only processes that start from now on are changed."""
    rewrite_program(runner.directory, lambda text: text.replace(old, new))


def watcher_record(runner: Runner) -> Path:
    return Path(runner.directory, "watcher")


def test_what_is_watched_is_idle_and_has_its_weight_again_after_it(runner: Runner, told: list[Event]) -> None:
    with watch_device(runner, ONLY_NICE, told.append):
        program, pid = start(runner, "exec sleep 600")
        group = group_of(runner, pid)
        wait_for(group, "1")
    assert (read(group, "cpu.idle"), read(group, "cpu.shares")) == ("0", SHARES)
    assert not watcher_record(runner).exists()
    runner.stop(program)
    wait_until(lambda: groups_of(runner.name) == [], what="the end of the group")


def test_what_nobody_watches_is_never_idle(runner: Runner) -> None:
    program, pid = start(runner, "exec sleep 600")
    group = group_of(runner, pid)
    assert (read(group, "cpu.idle"), read(group, "cpu.shares")) == ("0", SHARES)
    runner.stop(program)


@pytest.mark.parametrize("limits", [NO_LIMITS, ONLY_NICE.unpaused, replace(ONLY_NICE, niceness=None)])
def test_what_must_not_wait_or_has_no_limit_is_in_no_group(
    runner: Runner, told: list[Event], limits: Limits
) -> None:
    """The other one shows that the watcher has looked."""
    with watch_device(runner, ONLY_NICE, told.append):
        program, _ = start(runner, "exec sleep 600", limits)
        assert groups_of(runner.name) == []
        other, pid = start(runner, "exec sleep 600")
        wait_for(group_of(runner, pid), "1")
        assert len(groups_of(runner.name)) == 1
        runner.stop(other)
        runner.stop(program)


def test_what_starves_has_a_small_share_for_a_while(
    runner: Runner, told: list[Event], contention: Callable[[], None]
) -> None:
    change_program(runner, "-lt 1000 ]; then\n    return", "-lt 300 ]; then\n    return")  # after 3 seconds
    change_program(runner, "uptime + 6000", "uptime + 800")  # for 8
    with watch_device(runner, ONLY_NICE, told.append):
        program, pid = start(runner, BUSY)
        group = group_of(runner, pid)
        wait_for(group, "1")
        contention()
        wait_for(group, "0")
        wait_until(lambda: read(group, "cpu.shares") == SHARES, what="its own weight")
        wait_for(group, "1")
        assert hurries(told)
        runner.stop(program)


def test_what_does_not_starve_stays_idle(runner: Runner, told: list[Event]) -> None:
    """It wants no processor for most of the time."""
    change_program(runner, "-lt 1000 ]; then\n    return", "-lt 100 ]; then\n    return")
    with watch_device(runner, ONLY_NICE, told.append):
        program, pid = start(runner, "exec sleep 600")
        wait_for(group_of(runner, pid), "1")
        looks = len(told)
        wait_until(lambda: len(told) >= looks + 4, timeout_s=60, what="four more looks")
        assert not hurries(told)
        runner.stop(program)


def test_a_kernel_that_has_no_idle_class_is_not_said_to_hurry(
    runner: Runner, told: list[Event], contention: Callable[[], None]
) -> None:
    """It had its small share all the time."""
    change_program(runner, "cpu.idle", "cpu.hotfleet-none")
    change_program(runner, "-lt 1000 ]; then\n    return", "-lt 100 ]; then\n    return")
    with watch_device(runner, ONLY_NICE, told.append):
        program, pid = start(runner, BUSY)
        group = group_of(runner, pid)
        contention()
        looks = len(told)
        wait_until(lambda: len(told) >= looks + 5, timeout_s=60, what="five more looks")
        assert (read(group, "cpu.idle"), read(group, "cpu.shares")) == ("0", SHARES)
        assert not hurries(told)
        runner.stop(program)


def hurries(told: list[Event]) -> list[str]:
    return [event.text for event in told if isinstance(event, Said) and "never free" in event.text]


@pytest.mark.parametrize("victims", [("watcher",), ("watcher", "reaper")])
def test_nothing_stays_idle_when_its_watcher_was_killed(
    runner: Runner, told: list[Event], victims: tuple[str, ...]
) -> None:
    with watch_device(runner, ONLY_NICE, told.append):
        program, pid = start(runner, "exec sleep 600")
        group = group_of(runner, pid)
        wait_for(group, "1")
        pids = [int(Path(runner.directory, victim).read_text().split()[0]) for victim in victims]
        for each in pids:
            os.kill(each, signal.SIGKILL)
        wait_for(group, "0")
        wait_until(lambda: read(group, "cpu.shares") == SHARES, what="its own weight")
        runner.stop(program)


def test_a_group_goes_although_everything_of_the_console_was_killed(
    runner: Runner, told: list[Event]
) -> None:
    with watch_device(runner, ONLY_NICE, told.append):
        _, pid = start(runner, "exec sleep 600")
        wait_for(group_of(runner, pid), "1")
        attach = int(Path(runner.directory, "groups", str(_number_of(runner, pid))).read_text().split()[2])
        main = int(Path(runner.directory, "runner").read_text().split()[0])
        for each in (attach, main):
            os.kill(each, signal.SIGKILL)
        wait_until(lambda: not Path(runner.directory).exists(), timeout_s=120, what="the end of the run")
    assert groups_of(runner.name) == []


def _number_of(runner: Runner, pid: int) -> str:
    (name,) = (
        path.name
        for path in Path(runner.directory, "groups").iterdir()
        if path.read_text().split()[0] == str(pid)
    )
    return name


def test_a_dead_run_s_group_is_swept_at_the_next_contact(runner: Runner) -> None:
    dead = Path(runner.directory).parent / f"hotfleet-{CONSOLE}-dead"
    group = processor_root() / f"{dead.name}-7"
    group.mkdir()
    dead.mkdir(mode=0o700)
    (dead / "processor.7").write_text(f"v1 {group} 1073\n")
    assert runner.heal_run(str(dead))
    assert not group.exists()
    assert not dead.exists()


def test_a_kernel_that_does_not_count_waiting_has_nothing_idle(runner: Runner, told: list[Event]) -> None:
    change_program(runner, "/proc/self/schedstat", "/proc/self/hotfleet-none")
    with watch_device(runner, ONLY_NICE, told.append):
        program, pid = start(runner, "exec sleep 600")
        group = group_of(runner, pid)
        looks = len(told)
        wait_until(lambda: len(told) >= looks + 4, timeout_s=60, what="four looks")
        assert read(group, "cpu.idle") == "0"
        runner.stop(program)


def test_a_device_without_such_cgroups_has_nice_alone(
    runner: Runner, told: list[Event], tmp_path: Path
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("tmpfs /run tmpfs rw 0 0\n")
    change_program(runner, "done </proc/mounts\n  if", f"done <{mounts}\n  if")
    program, pid = start(runner, "exec sleep 600")
    assert groups_of(runner.name) == []
    assert program.note == ""
    assert os.getpriority(os.PRIO_PROCESS, pid) == 10
    runner.stop(program)


def test_restic_is_idle_during_a_backup(live_ground: None, device: Device, tmp_path: Path) -> None:
    """With the limits that every backup has. What it left is looked for by name, as after every backup."""
    processor_root()
    console = Console(device, tmp_path)
    data = device.btrfs / "data"
    data.mkdir()
    (data / "much").write_bytes(os.urandom(24 << 20))
    idle: set[str] = set()

    def look(event: Event) -> None:
        for group in groups_of(f"hotfleet-{console.id}"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                names = [Path("/proc", pid, "comm").read_text() for pid in members(group)]
                idle.update(names if read(group, "cpu.idle") == "1" else ())

    request = BackupRequest(
        console.id, secrets.token_hex(16), device.name, (SourceRequest(str(data)),), console.place,
        console.binary, limits=replace(Limits(), upload_kib_s=8 << 10),
    )  # fmt: skip
    outcome = back_up(request, console.open_session, tell=look, control=Unstoppable())
    assert [point.is_complete for point in outcome.points] == [True]
    assert idle == {"restic\n"}
    assert_device_is_clean(console)
