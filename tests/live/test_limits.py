"""Limits of a long program on this machine: a memory cgroup that always goes with it, nice, the watcher."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.binds import MIB, NO_LIMITS, Limits
from agents.commands import Command
from agents.errors import ConnectionLost, DeviceHealed, ProtocolBroken
from agents.events import Event, Felt, Impact, Level, Said
from agents.local import LocalSession
from agents.local_process import LocalProcess
from agents.runner import Runner, SupervisedProgram
from agents.watching import watch_device
from tests.live.ground import Device, wait_until
from tests.live.hearing import read_all
from tests.live.shells import PATIENT_S, SHELLS, ShellSession, rewrite_program

pytestmark = pytest.mark.one_shell

CONSOLE = f"w{os.getpid()}"
ONLY_MEMORY = Limits(None, None, None, 128 * MIB, None, None)
Open = Callable[..., Runner]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_runner(live_ground: None, shell: str) -> Iterator[Open]:
    opened: list[Runner] = []

    def make(told: list[Event] | None = None) -> Runner:
        opened.append(
            Runner(
                ShellSession(shell),
                console_id=CONSOLE,
                run_id=f"r{time.monotonic_ns():x}",
                tell=(lambda event: None) if told is None else told.append,
                silence_s=PATIENT_S,
                heartbeat_s=0.5,
            )
        )
        return opened[-1]

    yield make
    for runner in opened:
        try:
            runner.close()
        except (ConnectionLost, DeviceHealed, ProtocolBroken):
            wait_until(lambda: not Path(runner.directory).exists(), what="the end of the run")  # noqa: B023
        assert groups_of(runner.name) == []


def memory_root() -> Path:
    """Return where memory cgroups lie. Skip where this machine gives us none (fail instead in CI)."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup" and "memory" in options.split(","):
            return Path(point)
        switch = Path(point, "cgroup.subtree_control")
        if kind == "cgroup2" and switch.exists() and "memory" in switch.read_text().split():
            return Path(point)
    if os.environ.get("CI"):
        pytest.fail("this machine has no memory cgroup")
    pytest.skip("this machine has no memory cgroup")


def groups_of(name: str) -> list[Path]:
    return list(memory_root().rglob(f"{name}-*"))


def is_alive(pid: int) -> bool:
    """A zombie is not: nobody may wait for an orphan on this machine."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def start(runner: Runner, script: str, limits: Limits) -> tuple[SupervisedProgram, int]:
    program = runner.start(Command.of("sh", "-c", f"echo $$; {script}"), environment={}, limits=limits)
    return program, int(program.read(timeout_s=60).split()[0])


def members(group: Path) -> list[int]:
    return [int(word) for word in (group / "cgroup.procs").read_text().split()]


def test_a_program_is_in_a_group_of_its_own_that_goes_with_it(open_runner: Open) -> None:
    runner = open_runner()
    program, pid = start(runner, "exec sleep 60", ONLY_MEMORY)
    (group,) = groups_of(runner.name)
    assert members(group) == [pid]
    limit = next(path for name in ("memory.limit_in_bytes", "memory.high") if (path := group / name).exists())
    assert int(limit.read_text()) == 128 * MIB
    assert program.note == ""
    runner.stop(program)
    wait_until(lambda: groups_of(runner.name) == [], what="the end of the group")


def test_a_program_without_a_limit_is_in_none(open_runner: Open) -> None:
    runner = open_runner()
    program, _ = start(runner, "exec sleep 60", NO_LIMITS)
    assert groups_of(runner.name) == []
    runner.stop(program)


def test_a_group_goes_although_everything_of_the_console_was_killed(open_runner: Open) -> None:
    """The attach that would remove it dies with main; the reaper has to."""
    runner = open_runner()
    _, pid = start(runner, "sleep 61 & exec sleep 60", ONLY_MEMORY)
    assert len(groups_of(runner.name)) == 1
    attach = int(Path(runner.directory, "groups", "1").read_text().split()[2])
    main = int(Path(runner.directory, "runner").read_text().split()[0])
    for each in (attach, main):
        os.kill(each, signal.SIGKILL)
    wait_until(lambda: not Path(runner.directory).exists(), timeout_s=60, what="the end of the run")
    assert groups_of(runner.name) == []
    assert not is_alive(pid)


def test_a_dead_run_s_group_is_swept_at_the_next_contact(open_runner: Open, tmp_path: Path) -> None:
    runner = open_runner()
    base = Path(runner.directory).parent
    dead = base / f"hotfleet-{CONSOLE}-dead"
    group = memory_root() / f"{dead.name}-7"
    group.mkdir()
    dead.mkdir(mode=0o700)
    kind = "v1" if (group / "memory.limit_in_bytes").exists() else "v2"
    (dead / "memory.7").write_text(f"{kind} {group}\n")
    assert runner.heal_run(str(dead))
    assert not group.exists()
    assert not dead.exists()


def test_no_cgroup_is_a_sentence_and_no_failure(open_runner: Open, tmp_path: Path) -> None:
    runner = open_runner()
    mounts = tmp_path / "mounts"
    mounts.write_text("tmpfs /run tmpfs rw 0 0\n")
    # Only where a cgroup is looked for: this machine has one.
    rewrite_program(
        runner.directory, lambda text: text.replace("done </proc/mounts\n  if", f"done <{mounts}\n  if")
    )
    program, _ = start(runner, "exec sleep 60", ONLY_MEMORY)
    assert "takes no memory limit" in program.note
    assert groups_of(runner.name) == []
    runner.stop(program)


def test_nice_counts_beside_other_sessions(open_runner: Open) -> None:
    """Each session is a group of its own for the scheduler, in which nice alone counts for nothing."""
    runner = open_runner()
    program, pid = start(runner, "exec sleep 60", Limits(niceness=12, memory_bytes=None))
    assert os.getpriority(os.PRIO_PROCESS, pid) == 12
    session = Path(f"/proc/{pid}/autogroup")
    if session.exists() and session.read_text().strip():
        assert session.read_text().split()[-1] == "12"
    runner.stop(program)


def cached_bytes(path: Path) -> int:
    done = subprocess.run(
        ["fincore", "--bytes", "--noheadings", "--output", "RES", str(path)], capture_output=True, text=True
    )
    return int(done.stdout)


@pytest.mark.parametrize("has_limit", [False, True])
def test_the_files_of_an_application_stay_in_memory(
    live_ground: None, device: Device, has_limit: bool
) -> None:
    """A machine of 400 MiB (a cgroup around all of it) whose application uses 200, and a reader of 700."""
    root = memory_root()
    if not (root / "memory.limit_in_bytes").exists():
        pytest.skip("the machine's memory cgroups are of the other kind: the guest's tests look at them")
    hot, much = device.btrfs / "hot", device.btrfs / "much"
    for path, size in ((hot, 200), (much, 700)):
        subprocess.run(
            ["dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={size}", "status=none"], check=True
        )
    os.sync()
    machine = root / f"{CONSOLE}-machine-{has_limit}"
    machine.mkdir()
    try:
        (machine / "memory.limit_in_bytes").write_text(str(400 * MIB))
        kept = _read_in(machine, hot, much, ONLY_MEMORY if has_limit else NO_LIMITS)
    finally:
        wait_until(lambda: not members(machine), what="an empty machine")
        machine.rmdir()
    share = kept / (200 * MIB)
    assert share > 0.9 if has_limit else share < 0.5


def _read_in(machine: Path, hot: Path, much: Path, limits: Limits) -> int:
    """Return how much of `hot` is in memory after a long program, confined with all of ours, read `much`."""
    for path in (hot, much):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    class Confined(LocalSession):
        def start(self, command: Command) -> LocalProcess:
            words = ("sh", "-c", 'echo 0 >"$0/cgroup.procs" && exec "$@"', str(machine))
            return super().start(Command((*words, *command.argv), command.stdin))

    with Runner(
        Confined(), console_id=CONSOLE, run_id=f"r{time.monotonic_ns():x}", tell=lambda event: None
    ) as runner:
        runner.run(Command.of("sh", "-c", 'cat "$1" >/dev/null', "sh", str(hot)))
        assert cached_bytes(hot) > 190 * MIB
        program = runner.start(
            Command.of("sh", "-c", 'cat "$1" >/dev/null', "sh", str(much)), environment={}, limits=limits
        )
        assert program.wait(timeout_s=60) == 0
        return cached_bytes(hot)


def test_a_limit_grows_with_what_the_program_needs(open_runner: Open) -> None:
    told: list[Event] = []
    runner = open_runner(told)
    hungry = (
        "exec python3 -c 'import time\nkept=[]\n"
        'for _ in range(36):\n kept.append(bytearray(b"x" * (5 << 20))); time.sleep(0.35)\nprint("fed")\''
    )
    with watch_device(runner, Limits(), told.append):
        program, _ = start(runner, hungry, ONLY_MEMORY)
        assert program.wait(timeout_s=60) == 0  # 180 MiB, and nobody killed it
        assert read_all(program) == b"fed\n"
    assert any(isinstance(event, Said) and "needs more memory" in event.text for event in told)


@pytest.mark.parametrize("user", ["root", "sudo"])
def test_the_watcher_tells_what_the_device_feels(make_device: Callable[..., Device], user: str) -> None:
    device = make_device()
    name = "root" if user == "root" else device.make_user(may_sudo=True)
    told: list[Event] = []
    with Runner(
        device.connect(name), console_id=CONSOLE, run_id=f"r{time.monotonic_ns():x}", tell=told.append
    ) as runner:
        with watch_device(runner, Limits(), told.append) as watcher:
            wait_until(lambda: len(impacts(told)) >= 1, what="a sample")
            watcher.begin()
            wait_until(lambda: len(impacts(told)) >= 3, what="two more")
        receipt = watcher.receipt()
    assert receipt is not None
    assert receipt.cpu.before is not None and receipt.cpu.mean is not None
    assert receipt.io_pressure.mean is not None and receipt.io_pressure.before is not None
    assert receipt.disk_busy.mean is not None
    assert receipt.seconds > 1
    assert impacts(told)[-1].uptime_s > impacts(told)[0].uptime_s
    assert not warnings(told)
    assert {event.name for event in told if isinstance(event, Felt)} >= {"cpu", "io_pressure", "disk_busy"}


def test_the_watcher_s_end_is_a_warning_and_no_failure(open_runner: Open) -> None:
    told: list[Event] = []
    runner = open_runner(told)
    with watch_device(runner, NO_LIMITS, told.append):
        wait_until(lambda: bool(impacts(told)), what="a sample")
        (group,) = Path(runner.directory, "groups").iterdir()
        os.kill(int(group.read_text().split()[0]), signal.SIGKILL)
        wait_until(lambda: bool(warnings(told)), what="the warning")
    assert runner.run(Command.of("echo", "on")).stdout == b"on\n"


def test_the_watcher_costs_little(open_runner: Open) -> None:
    """With its children, and looking once a second; it looks half as often when nothing may be paused."""
    told: list[Event] = []
    runner = open_runner(told)
    with watch_device(runner, Limits(), told.append):
        wait_until(lambda: len(impacts(told)) >= 6, timeout_s=120, what="six samples")
        (group,) = Path(runner.directory, "groups").iterdir()
        fields = Path("/proc", group.read_text().split()[0], "stat").read_text().rpartition(")")[2].split()
    seconds = sum(int(word) for word in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    assert seconds / sum(each.seconds for each in impacts(told)) < 0.02  # ticks of 10 ms: no finer than that


def impacts(told: list[Event]) -> list[Impact]:
    return [event for event in told if isinstance(event, Impact)]


def warnings(told: list[Event]) -> list[str]:
    return [event.text for event in told if isinstance(event, Said) and event.level is not Level.INFO]
