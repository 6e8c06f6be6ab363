"""The way through a jump host: two real sshd, the second reachable from the first only."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.commands import Command
from agents.errors import (
    AgentError,
    ConnectFailed,
    ConnectionLost,
    ForwardingRefused,
    HostKeyChanged,
    HostKeyUnknown,
    KeyRefused,
    PrivilegeMissing,
)
from agents.events import Checked, CheckState
from agents.session import Session
from agents.ssh import Target, fetch_host_keys, make_key_pair
from agents.ssh.target import JumpHost
from tests.live.flows import Console, assert_device_is_clean, picture_of, wait_until_clean
from tests.live.ground import Device, wait_until
from tests.live.jumping import connect_through, hide_behind, jump_target
from tests.live.test_tunnel import echo, talk


@pytest.fixture
def jump(make_device: Callable[..., Device]) -> Device:
    return make_device()


@pytest.fixture
def device(make_device: Callable[..., Device]) -> Device:
    return make_device()


@pytest.fixture
def target(device: Device, jump: Device) -> Target:
    return jump_target(device, jump, hide_behind(device, jump))


@pytest.fixture
def session(target: Target, device: Device) -> Iterator[Session]:
    session = connect_through(target, device)
    yield session
    session.close()


def refusal_of(error: type[AgentError], target: Target, device: Device, timeout_s: float = 15) -> AgentError:
    with pytest.raises(error) as caught:
        connect_through(target, device, timeout_s=timeout_s)
    assert caught.value.remedy
    return caught.value


def test_the_device_is_reached_through_the_jump_host_alone(
    session: Session, device: Device, jump: Device
) -> None:
    assert session.run(Command.of("id", "-u"), timeout_s=60).text == "0\n"
    assert session.label == f"root@{device.address}:22 through the jump host {jump.address}:22"
    with pytest.raises(ConnectFailed):
        device.connect(timeout_s=2)


def test_the_tunnel_back_works_through_it(session: Session) -> None:
    with session.open_door(echo) as door:
        assert talk(session, door.repository_url, 4, 2_000_000) == ["same"] * 4


def test_a_closed_session_leaves_nothing_behind(target: Target, device: Device, jump: Device) -> None:
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        session = connect_through(target, device)
        session.run(Command.of("true"), timeout_s=60)
        session.close()
        session.close()
    wait_until(lambda: threading.active_count() <= before[0], what="the end of the threads")
    assert len(os.listdir("/proc/self/fd")) <= before[1]
    wait_until(lambda: not jump.session_pids(), what="the end of the connections at the jump host")


def test_host_keys_are_fetched_through_it_without_a_login(
    target: Target, device: Device, jump: Device
) -> None:
    found = fetch_host_keys(target, private_key=device.key_pair.private_key)
    assert found == device.host_keys
    assert "userauth-request for user" not in device.sshd_log
    assert target.through is not None and fetch_host_keys(target.through) == jump.host_keys


def test_the_key_passes_to_this_device_and_runs_nothing_on_the_jump_host(
    target: Target, device: Device, jump: Device
) -> None:
    assert target.through is not None
    elsewhere = Target(jump.address, jump.port, "root", target.through)
    refusal = refusal_of(ForwardingRefused, elsewhere, device)
    assert f'permitopen="{jump.address}:22"' in refusal.remedy
    with pytest.raises(PrivilegeMissing, match=r"does not start commands|may not log in"):
        connect_through(Target(jump.address, 22, target.through.user), device, host_keys=jump.host_keys[:1])


def test_nothing_is_sent_before_the_jump_hosts_key_is_approved(device: Device, jump: Device) -> None:
    target = jump_target(device, jump, hide_behind(device, jump), host_keys=[])
    refusal = refusal_of(HostKeyUnknown, target, device)
    assert f"the jump host {jump.address}:22" in refusal.message and refusal.tick == "jump-host"


def test_a_changed_key_of_the_jump_host_stops_before_the_login(
    target: Target, device: Device, jump: Device
) -> None:
    jump.swap_host_key()
    refusal = refusal_of(HostKeyChanged, target, device)
    assert refusal.message.startswith(f"The jump host {jump.address}:22 shows the host key")
    assert jump.host_keys[0].fingerprint in refusal.message and refusal.tick == "jump-host"
    assert "userauth-request for user" not in jump.sshd_log


def test_a_changed_key_of_the_device_is_the_devices(target: Target, device: Device, jump: Device) -> None:
    with pytest.raises(HostKeyChanged) as caught:
        connect_through(target, device, host_keys=jump.host_keys[:1])
    assert caught.value.message.startswith(f"{device.address}:22 shows") and caught.value.tick == ""


def test_a_jump_host_that_does_not_know_our_key_is_named(target: Target, device: Device) -> None:
    device.key_pair = make_key_pair("another")
    refusal = refusal_of(KeyRefused, target, device)
    assert "The jump host" in refusal.message and "connection page" in refusal.remedy
    assert refusal.tick == "jump-host"


@pytest.mark.parametrize("option", ["AllowTcpForwarding", "DisableForwarding"])
def test_a_jump_host_that_forbids_forwarding_is_named(
    target: Target, device: Device, jump: Device, option: str
) -> None:
    jump.configure(**{option: "no" if option.startswith("Allow") else "yes"})
    refusal = refusal_of(ForwardingRefused, target, device)
    assert "does not let the console through" in refusal.message and "AllowTcpForwarding" in refusal.remedy
    assert refusal.tick == "jump-host"


def test_a_device_without_sshd_is_told_by_the_jump_host(target: Target, device: Device) -> None:
    device.stop_sshd()
    refusal = refusal_of(ConnectFailed, target, device)
    assert "cannot reach" in refusal.message and "refused" in refusal.message


def test_a_name_that_the_jump_host_does_not_know(target: Target, device: Device, jump: Device) -> None:
    assert target.through is not None
    line = device.key_pair.public_line
    jump.authorize(target.through.user, f'restrict,port-forwarding,permitopen="no.such.invalid:22" {line}')
    refusal = refusal_of(ConnectFailed, Target("no.such.invalid", 22, "root", target.through), device)
    assert "cannot reach no.such.invalid:22" in refusal.message and "looked up" in refusal.remedy


def test_a_device_that_is_off_behind_a_living_jump_host(target: Target, device: Device) -> None:
    device.cut()
    started = time.monotonic()
    refusal = refusal_of(ConnectFailed, target, device, timeout_s=8)
    assert device.address in refusal.message
    assert time.monotonic() - started < 60  # the jump host itself tries for two minutes


def test_a_jump_host_that_is_off(target: Target, device: Device, jump: Device) -> None:
    jump.cut()
    refusal = refusal_of(ConnectFailed, target, device, timeout_s=2)
    assert "The jump host" in refusal.message and refusal.tick == "jump-host"


def test_the_watchdog_tells_a_silent_jump_host(session: Session, jump: Device) -> None:
    process = session.start(Command.of("sleep", "600"))
    jump.cut()
    with pytest.raises(ConnectionLost, match=r"the jump host .* was lost") as caught:
        process.read(timeout_s=60)
    assert "the jump host" in caught.value.remedy


def test_the_watchdog_tells_a_silent_device_behind_a_living_jump_host(
    session: Session, device: Device
) -> None:
    process = session.start(Command.of("sleep", "600"))
    device.cut()
    with pytest.raises(ConnectionLost, match=r"The connection to root@.* was lost: it was silent"):
        process.read(timeout_s=60)


def test_a_killed_sshd_of_the_jump_host_is_noticed_at_once(session: Session, jump: Device) -> None:
    process = session.start(Command.of("sleep", "600"))
    for pid in jump.session_pids():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(ConnectionLost, match="the jump host") as lost:
        process.read(timeout_s=60)
    assert "silent" not in lost.value.message  # not by the watchdog, which waits for an answer first


def test_two_jump_hosts_in_a_row(
    make_device: Callable[..., Device], target: Target, device: Device, jump: Device
) -> None:
    first = make_device()
    assert target.through is not None
    jump.key_pair = device.key_pair
    user = hide_behind(jump, first)
    outer = JumpHost(first.address, 22, user, host_keys=tuple(first.host_keys[:1]))
    inner = JumpHost(jump.address, 22, target.through.user, through=outer, host_keys=target.through.host_keys)
    with_both = Target(device.address, 22, "root", inner)
    session = connect_through(with_both, device)
    assert session.run(Command.of("id", "-u"), timeout_s=60).text == "0\n"
    session.close()


class JumpConsole(Console):
    """A console whose device lies behind a jump host."""

    def __init__(self, device: Device, folder: Path, target: Target) -> None:
        super().__init__(device, folder)
        self.target = target

    def open_session(self) -> Session:
        return connect_through(self.target, self.device)


@pytest.fixture
def console(target: Target, device: Device, tmp_path: Path) -> JumpConsole:
    return JumpConsole(device, tmp_path, target)


def test_a_whole_backup_and_restore(console: JumpConsole, device: Device) -> None:
    source = device.btrfs / "data"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(20_000_000))
    outcome = console.back_up(source)
    assert outcome.is_clean
    restored = device.directory / "restored"
    console.restore(outcome.points[0].restic_id, source, restored)
    assert picture_of(restored) == picture_of(source)
    assert_device_is_clean(console)


def test_a_jump_host_cut_in_mid_transfer_leaves_a_clean_device(
    console: JumpConsole, device: Device, jump: Device
) -> None:
    source = device.btrfs / "data"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(120_000_000))

    def cut_soon() -> None:
        wait_until(lambda: console.repository_bytes() > 10_000_000, timeout_s=60, what="some data")
        jump.cut()

    cutter = threading.Thread(target=cut_soon)
    cutter.start()
    with pytest.raises(ConnectionLost, match="the jump host"):
        console.back_up(source)
    cutter.join()
    wait_until_clean(console, is_connected=True)
    assert console.count_restore_points() == 0
    jump.heal()
    console.back_up(source)
    assert console.count_restore_points() == 1
    console.check_repository()


def test_the_check_tells_the_jump_host_first(console: JumpConsole, jump: Device) -> None:
    jump.configure(AllowTcpForwarding="no")
    with pytest.raises(ForwardingRefused):
        console.probe()
    (tick,) = [event for event in console.events if isinstance(event, Checked)]
    assert (tick.name, tick.state) == ("jump-host", CheckState.BAD) and tick.remedy
