"""How fast a long program may read while others write: real cgroups and disk, both shells. Never times."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agents.binds import NO_LIMITS, Limits
from agents.commands import Command
from agents.events import Event, Impact, Said, Throttled
from agents.runner import Runner, SupervisedProgram
from agents.watching import watch_device
from tests.live.ground import wait_until
from tests.live.shells import SHELLS, open_run

pytestmark = pytest.mark.one_shell

CONSOLE = f"d{os.getpid()}"
# Nothing is paused: that is another way to yield.
YIELDING = Limits(10, None, None, None, None, pressure_budget=1.0)
WRITE = "while :; do dd if=/dev/zero of=written bs=4k count=1 conv=fsync 2>/dev/null; done"
READ = "while :; do dd if=read of=/dev/null bs=1M iflag=direct 2>/dev/null; done"


def disk_root() -> Path:
    """Return where cgroups of disks lie, of version 1; the guest's tests look at version 2."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup" and "blkio" in options.split(","):
            return Path(point)
    if os.environ.get("CI"):
        pytest.fail("this machine has no cgroup of disks")
    pytest.skip("this machine has no cgroup of disks")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def runner(live_ground: None, shell: str, told: list[Event]) -> Iterator[Runner]:
    disk_root()
    with open_run(shell, CONSOLE, told) as runner:
        yield runner
    assert groups_of(runner) == []


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[None]:
    """Somebody who writes all the time, each time until it is on the disk."""
    process = subprocess.Popen(["sh", "-c", WRITE], cwd=tmp_path, start_new_session=True)
    yield
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def groups_of(runner: Runner) -> list[Path]:
    return list(disk_root().rglob(f"{runner.name}-*"))


def start(runner: Runner, script: str, limits: Limits = YIELDING) -> SupervisedProgram:
    program = runner.start(Command.of("sh", "-c", f"echo go; {script}"), environment={}, limits=limits)
    assert program.read(timeout_s=60) == b"go\n"
    return program


def limits_of(group: Path) -> dict[str, list[int]]:
    """Return what may be read, of each disk, in bytes and reads a second."""
    found: dict[str, list[int]] = {}
    for file in ("read_bps_device", "read_iops_device"):
        for line in (group / f"blkio.throttle.{file}").read_text().splitlines():
            disk, _, most = line.partition(" ")
            found.setdefault(disk, []).append(int(most))
    return found


def paces(told: list[Event]) -> list[str]:
    return [event.text for event in told if isinstance(event, Said) and "Others write" in event.text]


@pytest.mark.usefixtures("writer")
def test_reading_is_limited_while_others_write_and_free_after_it(runner: Runner, told: list[Event]) -> None:
    with watch_device(runner, YIELDING, told.append):
        program = start(runner, "exec sleep 600")
        (group,) = groups_of(runner)
        wait_until(lambda: bool(limits_of(group)), timeout_s=60, what="the limit")
        for most, reads in limits_of(group).values():
            assert 1 << 20 <= most < 1 << 30
            assert reads == (most + 131071) // 131072
        wait_until(lambda: bool(paces(told)), what="the sentence")
    assert limits_of(group) == {}
    assert len(paces(told)) == 1
    runner.stop(program)


@pytest.mark.usefixtures("writer")
def test_what_it_waits_for_its_own_limit_is_no_pressure_of_the_device(
    runner: Runner, told: list[Event], tmp_path: Path
) -> None:
    """The kernel counts it so. It would be paused for it, and the receipt would blame the disks."""
    (tmp_path / "read").write_bytes(bytes(64 << 20))
    eager = replace(YIELDING, pressure_budget=0.05)
    with watch_device(runner, eager, told.append):
        program = start(runner, f"cd {tmp_path}; {READ}", eager)
        wait_until(lambda: len(limited(told)) >= 3, timeout_s=60, what="three looks under a limit")
        runner.stop(program)
    assert not any(isinstance(event, Throttled) for event in told)


def limited(told: list[Event]) -> list[Impact]:
    return [event for event in told if isinstance(event, Impact) and event.io_pressure is None]


@pytest.mark.usefixtures("writer")
def test_no_limit_stays_when_its_watcher_was_killed(runner: Runner, told: list[Event]) -> None:
    with watch_device(runner, YIELDING, told.append):
        program = start(runner, "exec sleep 600")
        (group,) = groups_of(runner)
        wait_until(lambda: bool(limits_of(group)), timeout_s=60, what="the limit")
        os.kill(int(Path(runner.directory, "watcher").read_text().split()[0]), signal.SIGKILL)
        wait_until(lambda: limits_of(group) == {}, timeout_s=60, what="the end of the limit")
        runner.stop(program)


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize("limits", [NO_LIMITS, YIELDING.unpaused])
def test_what_must_not_wait_is_never_limited(runner: Runner, told: list[Event], limits: Limits) -> None:
    """The other one shows that the watcher has looked."""
    with watch_device(runner, YIELDING, told.append):
        program = start(runner, "exec sleep 600", limits)
        assert groups_of(runner) == []
        other = start(runner, "exec sleep 600")
        (group,) = groups_of(runner)
        wait_until(lambda: bool(limits_of(group)), timeout_s=60, what="the limit")
        runner.stop(other)
        runner.stop(program)


def test_a_dead_run_s_group_is_swept_at_the_next_contact(runner: Runner) -> None:
    dead = Path(runner.directory).parent / f"hotfleet-{CONSOLE}-dead"
    group = disk_root() / f"{dead.name}-7"
    group.mkdir()
    dead.mkdir(mode=0o700)
    (dead / "disk.7").write_text(f"v1 {group}\n")
    assert runner.heal_run(str(dead))
    assert not group.exists()
    assert not dead.exists()
