"""From the row of a device behind a jump host to a session: what the worker does with real machines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from agents.commands import Command
from agents.errors import ForwardingRefused, HostKeyChanged
from agents.ssh import authorized_keys_line
from agents.ssh.keys import jump_keys_line
from backupsite import vault
from backupsite.fleet.devices import Actor, Jump, Reach, approve_host_key, console_ssh_key, create_device
from backupsite.fleet.jump_hosts import list_endpoints
from backupsite.fleet.models import Device, HostKey, JumpHost
from backupsite.fleet.sessions import open_session
from backupsite.runs.checking import Scan
from backupsite.runs.models import Run
from tests.backupsite.making import make_run
from tests.live import ground
from tests.live.jumping import hide_behind

pytestmark = [pytest.mark.django_db]
ADA = Actor("ada")


class Worker:
    """A worker that holds its run to the end. Implements backupsite.runs.kinds.Control."""

    stop_event = threading.Event()

    def raise_if_stopped(self) -> None: ...

    def is_current(self) -> bool:
        return True

    def in_transaction(self, callback: Callable[[], None]) -> None:
        callback()


@pytest.fixture
def way(
    make_device: Callable[..., ground.Device], tmp_path: Path, settings: Settings
) -> tuple[Device, ground.Device]:
    tmp_path.chmod(0o700)
    settings.HOTFLEET_HOME = tmp_path
    vault.create_keys()
    real, jump = make_device(), make_device()
    user = hide_behind(real, jump)
    reach = Reach("ssh", real.address, 22, "root", Jump(jump.address, 22, user))
    device = create_device(ADA, "db-01", reach)
    line = console_ssh_key().public_line
    real.authorize("root", authorized_keys_line(line))
    jump.authorize(user, jump_keys_line(line, list_endpoints(jump_of(device))))
    return device, jump


def jump_of(device: Device) -> JumpHost:
    assert device.jump_host is not None
    return device.jump_host


def scan(device: Device) -> None:
    Scan().work(make_run(device, kind=Run.SCAN), lambda event: None, Worker())


def approve(owner: Device | JumpHost) -> list[str]:
    waiting = owner.host_keys.filter(state=HostKey.PENDING)
    return sorted(key.fingerprint for key in waiting if approve_host_key(ADA, key))


def test_each_machine_is_approved_once_and_then_the_device_is_reached(
    way: tuple[Device, ground.Device],
) -> None:
    device, jump = way
    scan(device)
    assert not device.host_keys.exists(), "nothing is asked through a machine that nobody approved"
    assert approve(jump_of(device)) == sorted(key.fingerprint for key in jump.host_keys)
    scan(device)
    assert len(approve(device)) == 3
    session = open_session(device)
    assert session.run(Command.of("id", "-u"), timeout_s=60).text == "0\n"
    session.close()


def test_a_changed_jump_host_waits_for_a_person_and_stops_the_device(
    way: tuple[Device, ground.Device],
) -> None:
    device, jump = way
    for owner in (jump_of(device), device):
        scan(device)
        approve(owner)
    jump.swap_host_key()
    with pytest.raises(HostKeyChanged, match="The jump host"):
        open_session(device)
    scan(device)
    assert jump_of(device).host_keys.filter(state=HostKey.PENDING).count() >= 2
    assert not device.host_keys.filter(state=HostKey.PENDING).exists()


def test_what_the_jump_host_showed_is_kept_when_the_device_is_out_of_reach(
    way: tuple[Device, ground.Device],
) -> None:
    device, jump = way
    scan(device)
    approve(jump_of(device))
    jump.configure(AllowTcpForwarding="no")
    with pytest.raises(ForwardingRefused):
        scan(device)
