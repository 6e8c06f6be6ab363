"""What a run left on a device: everything that carries its console's name, wherever that may be.

A device of the test ground shares the machine's file systems, cgroups and process table: so what is looked
for is a name, and in the device's own network everything that runs or listens."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from agents.own_places import JOURNALS, RUNS, SCRATCH_PARENT
from tests.live.ground import Device, command
from tests.live.machine import mounts_below

STATE_PLACES = tuple(map(Path, (*RUNS, JOURNALS)))
CGROUPS = Path("/sys/fs/cgroup")


def find_programs(device: Device, console_id: str, own: Collection[int] = ()) -> list[str]:
    """Return what runs for a console: on the device everything but `own` and sshd, which lives as long as a
    stopped console's connection does; on this machine whatever was given a run's name."""
    name = _name_of(console_id).encode()
    found = []
    for pid in set(device.session_pids()) - set(own):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            program = Path(f"/proc/{pid}/comm").read_text().strip()
            found += [] if program == "sshd" else [f"{program} ({pid})"]
    for pid in _all_pids():
        for what in ("cmdline", "environ"):
            with contextlib.suppress(OSError):  # it ended; or it is none of ours, which root may not ask
                told = Path(f"/proc/{pid}/{what}").read_bytes()
                found += [f"a process {pid}: {told[:200]!r}"] if name in told else []
    return found


def find_doors(device: Device, own: Collection[int] = ()) -> list[str]:
    """Return what listens in the device's network, but for the listener of sshd and `own`: a run's tunnel."""
    listener = set(device.pids()) - set(device.session_pids())
    words = ("nsenter", f"--net=/run/netns/{device.namespace}", "ss", "-H", "-l", "-t", "-n", "-p")
    lines = command(*words).stdout.splitlines()
    return [line for line in lines if not _pids_in(line) & {*listener, *own}]


def find_traces(device: Device, console_id: str) -> list[str]:
    """Return what no process needs any more: directories, snapshots, mounts, cgroups."""
    name = _name_of(console_id)
    places = [*STATE_PLACES, Path(SCRATCH_PARENT)]
    found = [path for place in places if place.is_dir() for path in place.iterdir() if name in path.name]
    found += [path for path in CGROUPS.rglob(f"*{name}*") if path.is_dir()]
    mounts = sorted({line for table in _mount_tables() for line in table.splitlines() if name in line})
    return [*map(str, found), *mounts, *_snapshots(device, name)]


def _snapshots(device: Device, name: str) -> list[str]:
    """Return copies and snapshots on every file system of the device, at any depth."""
    listed = command("find", device.directory, "-name", f".{name}*", "-prune").stdout.splitlines()
    for place in mounts_below(device.directory):
        if command("stat", "-f", "-c", "%T", place).stdout.strip() == "btrfs":
            subvolumes = command("btrfs", "subvolume", "list", place).stdout.splitlines()
            listed += [line for line in subvolumes if ".hotfleet-" in line]
    return listed


def _mount_tables() -> Iterator[str]:
    """Yield the mounts of every mount namespace: a run's are in one of its own."""
    seen = set()
    for pid in _all_pids():
        with contextlib.suppress(OSError):  # it ended meanwhile
            namespace = os.readlink(f"/proc/{pid}/ns/mnt")
            if namespace not in seen:
                yield Path(f"/proc/{pid}/mountinfo").read_text(errors="replace")
                seen.add(namespace)


def _name_of(console_id: str) -> str:
    return f"hotfleet-{console_id}-"


def _all_pids() -> list[int]:
    return [int(each) for each in os.listdir("/proc") if each.isdigit()]


def _pids_in(line: str) -> set[int]:
    return {int(pid) for pid in re.findall(r"pid=(\d+)", line)}
