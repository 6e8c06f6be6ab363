"""The second reaper: a timer of systemd heals the machine when the console and the reaper are gone."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from agents.commands import Command
from agents.errors import CommandFailed, ConnectionLost, DeviceHealed, ProtocolBroken
from agents.runner import Runner
from tests.live.ground import wait_until
from tests.vm.machine import Vm
from tests.vm.traces import find_traces, wait_until_clean

SILENCE_S = 12
# The timer looks every 5 seconds (6 with its accuracy); software emulation on busy cores takes the rest.
_TIMER_S = 20
MARK = "/srv/ext/owed"


@pytest.fixture
def silent_run(vm: Vm) -> Iterator[Runner]:
    """A run whose console never sends a heartbeat. It owes the removal of MARK, and a program works."""
    with closing(vm.connect()) as session:
        runner = Runner(
            session,
            console_id=f"s{secrets.token_hex(3)}",
            run_id=secrets.token_hex(8),
            tell=lambda event: None,
            silence_s=SILENCE_S,
            heartbeat_s=3600,
        )
        runner.owe("mark", Command.of("rm", "-f", MARK))
        runner.run(Command.of("touch", MARK))
        runner.start(Command.of("sleep", "600"), environment={})
        yield runner
        with pytest.raises((CommandFailed, ConnectionLost, DeviceHealed, ProtocolBroken)):
            runner.close()


def kill_reaper(vm: Vm, runner: Runner) -> None:
    """Kill the reaper by its id, and see that it is gone."""
    pid = vm.run(f"cut -d' ' -f1 {runner.directory}/reaper").strip()
    vm.run(f"grep -q reap /proc/{pid}/cmdline && kill -s KILL {pid}")
    wait_until(lambda: vm.run(f"ls -d /proc/{pid} 2>&1", check=False).startswith("ls:"), what="its end")


def is_timer_active(vm: Vm, runner: Runner) -> bool:
    return vm.run(f"systemctl is-active {runner.name}.timer", check=False).strip() == "active"


def test_it_heals_when_the_console_is_silent_and_the_reaper_is_dead(vm: Vm, silent_run: Runner) -> None:
    assert is_timer_active(vm, silent_run)
    kill_reaper(vm, silent_run)
    assert vm.run(f"ls {MARK}")  # nothing is undone before the deadline
    wait_until_clean(vm, silent_run.console_id, timeout_s=SILENCE_S + _TIMER_S)
    assert vm.run(f"ls {MARK} 2>/dev/null", check=False) == ""
    assert not is_timer_active(vm, silent_run)


@pytest.mark.full
def test_nobody_heals_without_the_timer(vm: Vm, silent_run: Runner) -> None:
    """The control of the tests here: it is the timer that heals in them."""
    vm.run(f"systemctl stop {silent_run.name}.timer")
    kill_reaper(vm, silent_run)
    time.sleep(SILENCE_S + 8)
    assert vm.run(f"ls {MARK} {silent_run.directory}/owed")
    vm.run(f"/bin/sh {silent_run.directory}/program second {silent_run.directory}")
    wait_until_clean(vm, silent_run.console_id, timeout_s=5)


def test_it_heals_when_every_process_of_the_run_is_dead(vm: Vm, silent_run: Runner) -> None:
    kill_reaper(vm, silent_run)
    pid = vm.run(f"cut -d' ' -f1 {silent_run.directory}/runner").strip()
    vm.run(f"kill -s KILL {pid}")
    wait_until_clean(vm, silent_run.console_id, timeout_s=_TIMER_S)
    assert vm.run(f"ls {MARK} 2>/dev/null", check=False) == ""


@pytest.mark.full
def test_a_timer_whose_run_is_gone_ends_by_itself(vm: Vm) -> None:
    with closing(vm.connect()) as session:
        console_id = f"s{secrets.token_hex(3)}"
        runner = Runner(session, console_id=console_id, run_id="cc", tell=lambda event: None)
        assert is_timer_active(vm, runner)
        kill_reaper(vm, runner)
        vm.run(f"kill -s KILL $(cut -d' ' -f1 {runner.directory}/runner); rm -rf {runner.directory}")
        wait_until_clean(vm, console_id, timeout_s=60)
        assert not is_timer_active(vm, runner)
        with pytest.raises((ConnectionLost, DeviceHealed, ProtocolBroken)):
            runner.close()


@pytest.mark.full
def test_a_run_that_ends_well_leaves_no_timer(vm: Vm) -> None:
    with closing(vm.connect()) as session:
        console_id = f"s{secrets.token_hex(3)}"
        with Runner(session, console_id=console_id, run_id="aa", tell=lambda event: None) as runner:
            runner.run(Command.of("true"))
            assert is_timer_active(vm, runner)
            assert any(".timer" in each for each in find_traces(vm, console_id))
        wait_until_clean(vm, console_id, timeout_s=60)


@pytest.mark.full
def test_it_lets_a_living_run_alone(vm: Vm) -> None:
    """Its timer fires, sees the reaper, and does nothing. A dead reaper is started again by a heartbeat."""
    with closing(vm.connect()) as session:
        console_id = f"s{secrets.token_hex(3)}"
        with Runner(
            session, console_id=console_id, run_id="bb", tell=lambda event: None, heartbeat_s=1
        ) as runner:
            runner.owe("mark", Command.of("rm", "-f", MARK))
            runner.run(Command.of("touch", MARK))
            before = vm.run(f"cat {runner.directory}/reaper")
            kill_reaper(vm, runner)
            wait_until(lambda: vm.run(f"cat {runner.directory}/reaper") != before, what="another reaper")
            time.sleep(8)  # the timer fires at least once
            assert vm.run(f"ls {MARK}")
            assert runner.run(Command.of("echo", "alive")).text == "alive\n"
        wait_until_clean(vm, console_id, timeout_s=60)
