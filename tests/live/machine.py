"""What the test ground needs of this machine: its programs, its mounts, a number that nobody else has."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

BASE = Path("/var/lib/hotfleet-ground")
TOOLS = ("ip", "nsenter", "sshd", "ssh-keygen", "mkfs.btrfs", "btrfs", "mount", "useradd", "sudo")
_MOST_DEVICES = 4096


def _make_path() -> str:
    """Return PATH with the directories of system programs, which a user's own has not on Debian."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def missing_parts() -> list[str]:
    """Return what this machine lacks for live tests."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=_make_path()) is None]
    if os.geteuid() != 0:
        missing.insert(0, "root")
    return missing


def command(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program of this machine. Raise AssertionError with its words and output when it fails."""
    environment = {**os.environ, "PATH": _make_path()}
    done = subprocess.run(
        [str(word) for word in words], env=environment, capture_output=True, text=True, timeout=180
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"{' '.join(done.args)} ended with {done.returncode}: {done.stderr or done.stdout}"
        )
    return done


def wait_until(is_so: Callable[[], bool], *, timeout_s: float = 60, what: str = "it") -> None:
    """Return as soon as `is_so()`. Raise AssertionError when that takes too long."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not happen within {timeout_s} s")
        time.sleep(0.05)


def claim_number() -> tuple[IO[str], int]:
    """Return the smallest free number with the open file whose lock holds it."""
    BASE.mkdir(mode=0o755, parents=True, exist_ok=True)
    for number in range(1, _MOST_DEVICES):
        file = (BASE / f"{number}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return file, number
    raise AssertionError("all numbers of test devices are taken")


def mounts_below(directory: Path) -> list[str]:
    """Return the mount points below a directory, in the order in which they were mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [point for point in points if point.startswith(f"{directory}/")]
