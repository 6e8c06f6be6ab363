"""The test ground itself: it must not leave anything on the machine, whatever a test did."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from agents.commands import Command
from tests.live.ground import Device, command

ROOT = Path(__file__).resolve().parents[2]


def traces(device: Device) -> list[str]:
    """Return what of a device can still be seen on this machine."""
    places = [
        Path(f"/run/netns/{device.name}"),
        Path(f"/sys/class/net/{device.name}h"),
        device.directory,
        Path(f"/etc/sudoers.d/hotfleet-ground-{device.name}u"),
    ]
    found = [str(place) for place in places if place.exists()]
    tables = (Path("/proc/self/mountinfo"), Path("/etc/passwd"))
    found += [str(table) for table in tables if f"{device.directory}/" in table.read_text()]
    return found + [
        line for line in command("losetup", "-a").stdout.splitlines() if str(device.directory) in line
    ]


def use_everything(device: Device) -> None:
    device.make_user(may_sudo=True)
    (device.btrfs / "file").write_text("x")
    command("btrfs", "subvolume", "snapshot", "-r", device.btrfs, device.btrfs / "left")
    device.connect().start(Command.of("sh", "-c", f"cd {device.btrfs} && exec sleep 600"))


def test_nothing_is_left_even_when_it_is_in_use(make_device: Callable[..., Device]) -> None:
    device = make_device()
    use_everything(device)
    device.cut()
    assert len(traces(device)) == 7
    device.close()
    assert traces(device) == []


LEAVE = """
from tests.live.ground import Device
from tests.live.test_ground import use_everything
device = Device()
use_everything(device)
print(device.number, flush=True)
input()
"""


def test_what_a_killed_test_run_left_is_removed_by_the_next(make_device: Callable[..., Device]) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LEAVE], stdin=pipe, stdout=pipe, cwd=ROOT) as other:
        assert other.stdout is not None
        number = int(other.stdout.readline())
        other.kill()
    # Others may take numbers at the same time: ours is found among the next few.
    taken: list[Device] = []
    while not taken or taken[-1].number != number:
        assert len(taken) < 8
        taken.append(make_device())
    session = taken[-1].connect()
    assert session.run(Command.of("ls", str(taken[-1].directory)), timeout_s=60).is_success
    session.close()
    assert not (taken[-1].directory / "btrfs").exists()


def test_two_devices_do_not_share_a_network(make_device: Callable[..., Device]) -> None:
    one, two = make_device(), make_device()
    assert one.address != two.address
    assert one.host_keys[0] != two.host_keys[0]
    one.cut()
    session = two.connect()
    assert session.run(Command.of("echo", "on"), timeout_s=60).stdout == b"on\n"
    session.close()


def test_other_file_systems_are_made(device: Device) -> None:
    for kind in ("ext4", "xfs"):
        path = device.make_file_system(kind)
        assert command("stat", "-f", "-c", "%T", path).stdout.strip() in ("ext2/ext3", "xfs")
