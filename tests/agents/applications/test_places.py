"""Where the data of an instance really lies, on real files."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from agents.applications.etcd import Etcd
from agents.applications.libvirt import Libvirt
from agents.applications.places import settle_places
from agents.commands import Command, Result
from agents.errors import PlanRefused
from agents.facts import Instance
from tests.agents.facts.samples import make_facts


class Here:
    """Runs commands on this machine, in a shell of one's choice."""

    def __init__(self, *shell: str) -> None:
        self.shell = shell
        self.count = 0

    def run(self, command: Command, *, timeout_s: float = 60.0, check: bool = True) -> Result:
        self.count += 1
        words = (*self.shell, *command.argv[1:])
        done = subprocess.run(words, capture_output=True, check=check, timeout=timeout_s)
        return Result(command, done.returncode, done.stdout, done.stderr)


@pytest.fixture(params=["dash", "busybox sh"])
def device(request: pytest.FixtureRequest) -> Here:
    return Here(*str(request.param).split())


def instance(*places: str) -> Instance:
    return Instance("x", "one", "X one", "1", places, "x.service", True)


def test_a_link_and_a_slash_at_the_end_are_what_they_lead_to(device: Here, tmp_path: Path) -> None:
    """restic would store a link as a link, and name the folder without its slash."""
    real = tmp_path / "real\ndata"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    disk = tmp_path / "disk.qcow2"
    disk.touch()
    (found,) = settle_places(device, [instance(f"{tmp_path}/link", f"{real}/", f"{disk}")], 10)
    assert found.places == (str(real), str(disk))
    assert found.problems == ()


@pytest.mark.parametrize("place", ["", "/no/such/place", "/", f"/{'x' * 5000}"])
def test_what_nobody_can_copy_leaves_no_half_of_an_instance(device: Here, place: str, tmp_path: Path) -> None:
    if not place:
        place = str(tmp_path / "disk")
        os.mknod(place, stat.S_IFBLK | 0o600, os.makedev(7, 0))
    (found, other) = settle_places(device, [instance("/etc", place), instance("/etc")], 10)
    assert found.places == () and place in found.problems[0]
    assert (other.places, other.problems) == (("/etc",), ())


def test_a_socket_holds_no_data(device: Here, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/s")
        (found,) = settle_places(device, [instance(f"{tmp_path}/s", str(tmp_path))], 10)
    assert (found.places, found.problems) == ((str(tmp_path),), ())


def test_very_many_places_are_asked_about_in_several_commands(device: Here) -> None:
    many = tuple(f"/etc/{'a' * 200}{number}" for number in range(3000))
    first, second = settle_places(device, [instance(*many), instance("/etc")], 30)
    assert first.places == () and second.places == ("/etc",)
    assert device.count > 1


def test_nothing_is_asked_about_no_place(device: Here) -> None:
    assert settle_places(device, [instance()], 10) == [instance()]
    assert device.count == 0


def test_what_has_no_places_is_never_cold() -> None:
    with pytest.raises(PlanRefused, match="nobody knows where all files"):
        Etcd().cold(instance(), make_facts())


def test_a_service_whose_name_can_be_none_is_refused_with_words() -> None:
    """Whoever may make control groups names them: systemctl would take it for a pattern."""
    hostile = Instance("etcd", "e", "etcd e", "3", ("/etc",), "*.service", True)
    with pytest.raises(PlanRefused, match="not the name of a service"):
        Etcd().cold(hostile, make_facts())


def test_a_machine_that_is_off_is_not_cold_with_a_disk_that_is_no_file() -> None:
    case = Path(__file__).resolve().parents[2] / "cases" / "libvirt" / "look.bin"
    _, off = Libvirt().parse(case.read_bytes(), make_facts())
    assert not off.is_running and off.problems
    with pytest.raises(PlanRefused, match="is no file but"):
        Libvirt().cold(off, make_facts())
