"""The negative controls of `assert_device_is_clean`: whatever a run could leave, it is seen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from agents.own_places import JOURNALS, SCRATCH_PARENT
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, command
from tests.live.traces import CGROUPS

Leave = Callable[[Console], AbstractContextManager[object]]


def name_of(console: Console) -> str:
    return f"hotfleet-{console.id}-{'0' * 32}"


@contextmanager
def a_folder(path: Path) -> Iterator[None]:
    path.mkdir(parents=True)
    try:
        yield
    finally:
        path.rmdir()


@contextmanager
def a_process(*words: str | Path) -> Iterator[None]:
    with subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()


def inside(console: Console) -> list[str | Path]:
    return ["nsenter", f"--net=/run/netns/{console.device.namespace}"]


def in_shell(script: str, *words: str | Path) -> list[str | Path]:
    return ["sh", "-c", f"{script}; echo ready; exec sleep 600 >&-", "sh", *words]


_LISTEN = """
import socket, time
held = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
time.sleep(600)
"""
_MOUNT = 'mount --make-rprivate / && mount -t tmpfs "$1" "$2"'


@contextmanager
def a_cgroup(console: Console, controller: str) -> Iterator[None]:
    """Below our own group and one more: a confined machine has them as deep."""
    place = CGROUPS
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        if controller in controllers.split(","):
            place = CGROUPS / controller / own.lstrip("/")
    deeper = (place if place.is_dir() else CGROUPS / controller) / f"deeper-{console.id}"
    with a_folder(deeper / name_of(console)):
        yield
    deeper.rmdir()


LEFTOVERS: dict[str, Leave] = {
    "a process on the device": lambda console: a_process(*inside(console), *in_shell(":")),
    "a process of its name": lambda console: a_process("env", f"RUN={name_of(console)}", *in_shell(":")),
    "a port": lambda console: a_process(*inside(console), sys.executable, "-c", _LISTEN),
    "a mount of another namespace": lambda console: a_process(
        "unshare", "-m", *in_shell(_MOUNT, name_of(console), console.device.btrfs)
    ),
    "a state directory": lambda console: a_folder(Path("/dev/shm/hotfleet") / name_of(console)),
    "a journal": lambda console: a_folder(Path(JOURNALS) / name_of(console)),
    "a scratch directory": lambda console: a_folder(Path(SCRATCH_PARENT) / f".{name_of(console)}"),
    "a copy": lambda console: a_folder(console.device.btrfs / "a" / f".{name_of(console)}"),
    "a cgroup of memory": lambda console: a_cgroup(console, "memory"),
    "a cgroup of processors": lambda console: a_cgroup(console, "cpu"),
}


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    assert device.btrfs.exists()
    return Console(device, tmp_path)


@pytest.mark.parametrize("what", LEFTOVERS)
def test_what_is_left_is_seen(console: Console, what: str) -> None:
    assert_device_is_clean(console)
    with LEFTOVERS[what](console), pytest.raises(AssertionError, match="not clean"):
        assert_device_is_clean(console, patience_s=0.5)
    assert_device_is_clean(console)


def test_a_snapshot_in_a_subvolume_is_seen(console: Console) -> None:
    top = console.device.btrfs / "top"
    command("btrfs", "subvolume", "create", top)
    command("btrfs", "subvolume", "snapshot", "-r", console.device.btrfs, top / f".{name_of(console)}")
    with pytest.raises(AssertionError, match="not clean"):
        assert_device_is_clean(console)


def test_what_belongs_to_the_device_is_no_trace(console: Console) -> None:
    with a_process(*inside(console), sys.executable, "-c", _LISTEN):
        (pid,) = console.device.session_pids()
        assert_device_is_clean(console, own=[pid])
