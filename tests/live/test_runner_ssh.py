"""The runner through a real sshd, as root and through sudo, and when the network is cut."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.commands import Command, Secret
from agents.errors import AgentError, ConnectionLost, DeviceHealed
from agents.runner import Bind, Runner
from tests.backupsite.serve.processes import is_running
from tests.live.ground import Device, wait_until
from tests.live.hearing import read_all
from tests.live.shells import PATIENT_S

CONSOLE = f"s{os.getpid()}"


def open_runner(device: Device, user: str = "root", silence_s: int = PATIENT_S) -> Runner:
    session = device.connect(user)
    run_id = f"r{time.monotonic_ns():x}"
    return Runner(
        session,
        console_id=CONSOLE,
        run_id=run_id,
        tell=lambda event: None,
        silence_s=silence_s,
        heartbeat_s=0.5,
    )


@pytest.mark.parametrize("is_root", [True, False])
def test_a_run_works_as_root_and_through_sudo(make_device: Callable[..., Device], is_root: bool) -> None:
    device = make_device()
    user = "root" if is_root else device.make_user(may_sudo=True)
    runner = open_runner(device, user)
    assert runner.run(Command.of("id", "-u")).stdout == b"0\n"
    password = runner.write_file("password", Secret("tr0ub4dor"))
    program = runner.start(
        Command.of("sh", "-c", 'cat "$PASSWORD_FILE"; touch /etc/no; exit 3'),
        environment={"PASSWORD_FILE": password},
        binds=[Bind("/etc", "/etc")],
    )
    assert program.wait(timeout_s=60) == 3
    assert read_all(program) == b"tr0ub4dor"
    runner.close()
    assert not Path(runner.directory).exists()


@pytest.mark.parametrize("is_root", [True, False])
def test_closing_the_way_ends_a_program(make_device: Callable[..., Device], is_root: bool) -> None:
    device = make_device()
    user = "root" if is_root else device.make_user(may_sudo=True)
    runner = open_runner(device, user)
    program = runner.start(Command.of("sh", "-c", "echo $$; exec sleep 60"), environment={})
    pid = int(program.read(timeout_s=60))
    program.close()
    wait_until(lambda: not is_running(pid), timeout_s=40, what="the end of the program")
    runner.close()


def test_a_cut_network_heals_the_device_and_is_told(device: Device, tmp_path: Path) -> None:
    runner = open_runner(device, silence_s=5)
    thawed = tmp_path / "thawed"
    runner.owe("thaw", Command.of("touch", str(thawed)))
    program = runner.start(Command.of("sh", "-c", "echo $$; exec sleep 60"), environment={})
    pid = int(program.read(timeout_s=60))
    device.cut()
    wait_until(thawed.exists, timeout_s=60, what="the thaw")
    wait_until(lambda: not Path(runner.directory).exists(), timeout_s=60, what="the end of the run")
    assert not is_running(pid)
    device.heal()
    with pytest.raises((ConnectionLost, DeviceHealed)):
        runner.run(Command.of("true"), timeout_s=60)
    with pytest.raises(AgentError):
        runner.close()
