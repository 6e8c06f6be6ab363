"""Memory and processors of a long program under systemd, on cgroup v2: a scope that goes with it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing

import pytest

from agents.binds import MIB, NO_LIMITS, Limits
from agents.commands import Command
from agents.errors import ConnectionLost, DeviceHealed, ProtocolBroken
from agents.events import Event, Said
from agents.runner import Runner
from agents.watching import watch_device
from tests.live.ground import wait_until
from tests.live.hearing import read_all
from tests.vm.machine import Vm
from tests.vm.traces import wait_until_clean

_MUCH_MB = 200
# Programs of ours may hold an application: they are never paused here, the machine is slow enough.
_ONLY_MEMORY = Limits(None, None, None, 64 * MIB, None, None)


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def runner(vm: Vm, told: list[Event]) -> Iterator[Runner]:
    """A run of its own. Nothing of it is left after the test."""
    with closing(vm.connect()) as session:
        runner = Runner(
            session, console_id=f"m{secrets.token_hex(3)}", run_id=secrets.token_hex(8), tell=told.append
        )
        try:
            yield runner
        finally:
            runner.close()
            wait_until_clean(vm, runner.console_id, timeout_s=60)


def scopes_of(vm: Vm, runner: Runner) -> list[str]:
    return vm.run(f"systemctl show -p Id --value '{runner.name}-*.scope'").split()


def scope_of(vm: Vm, runner: Runner) -> str:
    """Return the scope of the only program when it runs in it: the program is told to have started before."""
    wait_until(lambda: len(scopes_of(vm, runner)) == 1, what="the scope")
    (scope,) = scopes_of(vm, runner)
    return scope


def read_group(vm: Vm, scope: str, file: str) -> str:
    group = vm.run(f"systemctl show -p ControlGroup --value {scope}").strip()
    assert group.endswith(f"/{scope}")
    return vm.run(f"cat /sys/fs/cgroup{group}/{file}").strip()


def test_a_long_program_runs_in_a_scope_that_goes_with_it(vm: Vm, runner: Runner) -> None:
    """With the limits that every backup has."""
    program = runner.start(Command.of("sleep", "600"), environment={})
    assert program.note == ""
    scope = scope_of(vm, runner)
    assert read_group(vm, scope, "memory.high") == str(300 * MIB)
    assert read_group(vm, scope, "memory.max") == str(600 * MIB)
    assert read_group(vm, scope, "cpu.weight") == "11"
    (pid,) = read_group(vm, scope, "cgroup.procs").split()
    wait_until(lambda: vm.run(f"cat /proc/{pid}/comm").strip() == "sleep", what="the program itself")
    runner.stop(program)
    wait_until(lambda: scopes_of(vm, runner) == [], what="the end of the scope")


@pytest.mark.parametrize("by", ["systemd", "hand"])
def test_a_watched_program_is_idle_and_has_its_weight_again_after_it(
    vm: Vm, runner: Runner, told: list[Event], by: str
) -> None:
    """By hand as on a device that runs no systemd: a group of its own at the root of all of them."""
    if by == "hand":
        vm.run(f"sed -i s,/run/systemd/system,/run/hotfleet-none, {runner.directory}/program")
    with watch_device(runner, Limits(), told.append):
        program = runner.start(Command.of("sleep", "600"), environment={})
        place = f"/sys/fs/cgroup/{runner.name}-{program.number}"
        if by == "systemd":
            scope = scope_of(vm, runner)
            place = "/sys/fs/cgroup" + vm.run(f"systemctl show -p ControlGroup --value {scope}").strip()
        wait_until(lambda: read_files(vm, place, "cpu.idle") == ["1"], timeout_s=60, what="the idle class")
        assert read_files(vm, place, "memory.high") == [str(300 * MIB)]
    wait_until(
        lambda: read_files(vm, place, "cpu.idle", "cpu.weight") == ["0", "11"],
        timeout_s=60, what="its own weight",
    )  # fmt: skip
    runner.stop(program)
    wait_until(lambda: vm.run(f"ls -d {place}", check=False) == "", what="the end of the group")


def read_files(vm: Vm, place: str, *files: str) -> list[str]:
    return vm.run(f"cd {place} && cat {' '.join(files)}", check=False).split()


def test_words_that_are_no_text_reach_a_program_in_a_scope(vm: Vm, runner: Runner) -> None:
    """systemd would call the scope by them, and takes nothing but text."""
    words = ("\udcff", "two\nlines", "%n", "$HOME", "")
    program = runner.start(
        Command.of("sh", "-c", "printf '%s|' \"$@\"; exec sleep 600", "sh", *words), environment={}
    )
    scope_of(vm, runner)
    said = b""
    while said.count(b"|") < len(words):
        said += program.read(timeout_s=60)
    assert said == b"\xff|two\nlines|%n|$HOME||"
    runner.stop(program)


def test_a_program_without_a_limit_has_none(vm: Vm, runner: Runner) -> None:
    """The control: the scope above is there for the limit."""
    program = runner.start(Command.of("sleep", "600"), environment={}, limits=NO_LIMITS)
    assert scopes_of(vm, runner) == []
    runner.stop(program)


def test_a_scope_goes_although_everything_of_the_console_was_killed(vm: Vm, runner: Runner) -> None:
    runner.start(Command.of("sh", "-c", "sleep 601 & exec sleep 600"), environment={})
    scope = scope_of(vm, runner)
    wait_until(lambda: len(read_group(vm, scope, "cgroup.procs").split()) == 2, what="both processes")
    pids = read_group(vm, scope, "cgroup.procs").split()
    attach = vm.run(f"cut -d' ' -f3 {runner.directory}/groups/1").strip()
    main = vm.run(f"cut -d' ' -f1 {runner.directory}/runner").strip()
    vm.run(f"kill -s KILL {attach} {main}")
    with pytest.raises((ConnectionLost, DeviceHealed, ProtocolBroken)):
        runner.close()
    wait_until_clean(vm, runner.console_id, timeout_s=60)
    assert vm.run(f"ps -o pid= -p {','.join(pids)}", check=False) == ""


@pytest.mark.parametrize("has_limit", [True, False])
@pytest.mark.full
def test_what_a_program_reads_stays_within_the_limit(vm: Vm, runner: Runner, has_limit: bool) -> None:
    """The rest is for the files of the applications. Without a limit (the control) all of it is kept."""
    much = "/srv/thin/much"
    vm.run(f"head -c {_MUCH_MB}M /dev/zero >{much} && sync -f {much}", timeout_s=120)
    vm.run("echo 1 >/proc/sys/vm/drop_caches")
    try:
        limits = _ONLY_MEMORY if has_limit else NO_LIMITS
        program = runner.start(
            Command.of("sh", "-c", f"cat {much} >/dev/null"), environment={}, limits=limits
        )
        assert program.wait(timeout_s=120) == 0
        cached = int(vm.run(f"fincore --bytes --noheadings --output RES {much}"))
    finally:
        vm.run(f"rm {much}")
    assert cached < 80 * MIB if has_limit else cached > 190 * MIB


@pytest.mark.full
def test_the_limit_grows_with_what_the_program_needs(vm: Vm, runner: Runner, told: list[Event]) -> None:
    hungry = (
        "kept=[]\nimport time\n"
        "for _ in range(24):\n kept.append(bytearray(b'x' * (5 << 20))); time.sleep(0.5)\nprint('fed')"
    )
    with watch_device(runner, Limits(), told.append):
        program = runner.start(Command.of("python3", "-c", hungry), environment={}, limits=_ONLY_MEMORY)
        scope = scope_of(vm, runner)
        wait_until(
            lambda: int(read_group(vm, scope, "memory.high")) > 64 * MIB, timeout_s=60, what="a higher limit"
        )
        assert program.wait(timeout_s=120) == 0  # 120 MiB, and nobody killed it
        assert read_all(program) == b"fed\n"
    assert any(isinstance(event, Said) and "needs more memory" in event.text for event in told)
