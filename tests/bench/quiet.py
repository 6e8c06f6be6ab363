"""What stands for another machine, or for a disk, must not be felt in a figure of the device."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import report


@contextmanager
def elsewhere() -> Iterator[Callable[[int], None]]:
    """Give what makes a process (without threads yet) take only the processor time that nobody else wants, as
    if it were another machine's. Without such cgroups it has nice 19, which is felt, and is said."""
    root = _processor_root()
    if root is None:
        report.say("no cgroup of the processor here can be idle: the console's work has nice 19, and is felt")
        yield lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19)
        return
    group = root / f"hotfleet-bench-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cpu.idle").write_text("1")
        yield lambda pid: _move(group, pid)
    finally:
        group.rmdir()


def _move(group: Path, pid: int) -> None:
    (group / "cgroup.procs").write_text(str(pid))


def _processor_root() -> Path | None:
    """Return where cgroups of the processor can be made and be idle (Linux 5.15)."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, options, *_ = line.split()
        if kind == "cgroup" and "cpu" in options.split(",") and Path(point, "cpu.idle").exists():
            return Path(point)
        switch = Path(point, "cgroup.subtree_control")
        if kind == "cgroup2" and switch.exists() and "cpu" in switch.read_text().split():
            return Path(point) if _is_new_enough() else None
    return None


def _is_new_enough() -> bool:
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int(minor)) >= (5, 15)


def read_directly(mount_point: Path) -> None:
    """Let a file system in a loop file read and write its disk, instead of a copy in memory that a thread of
    the kernel keeps. Say so where that is not possible."""
    words = ("findmnt", "--noheadings", "--output", "SOURCE", str(mount_point))
    device = (
        subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip().partition("[")[0]
    )
    done = subprocess.run(["losetup", "--direct-io=on", device], capture_output=True, text=True)
    if done.returncode != 0:
        report.say(f"the device's disk is a copy in memory, which is felt: {done.stderr.strip()}")


def forget_files() -> None:
    """Drop every cached page of a file: a snapshot is read from the disk."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")
