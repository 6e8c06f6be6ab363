"""Finding a restic that is new enough, and saying where it lies on a device."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agents.errors import ToolMissing
from agents.own_places import CACHE

MINIMUM = (0, 18, 0)
# What a person does where ours does not start.
INSTALL = (
    "Install restic 0.18 or newer on the device: the distribution's own where it is new enough (Debian 13), "
    "else the static program that the restic project publishes for this machine, as /usr/local/bin/restic."
)
_VERSION = re.compile(rb"restic ([0-9]+)\.([0-9]+)\.([0-9]+)")
# ELF's e_machine to what `uname -m` says.
_MACHINES = {
    3: "i686",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    21: "ppc64le",
    22: "s390x",
    243: "riscv64",
}

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Binary:
    """A restic program of this machine. `machine` is the name that `uname -m` gives it."""

    path: Path
    version: Version
    sha256: str
    machine: str

    @property
    def device_path(self) -> str:
        """Where it lies on a device. /run will not do: Debian mounts it noexec."""
        return f"{CACHE}/{self.sha256}/restic"


def find_binary(candidates: Iterable[Path] = ()) -> Binary:
    """Return the first restic that is new enough: of `candidates` (programs or directories), then on PATH.

    Runs `restic version` for each. Raise ToolMissing when there is none.
    """
    seen: list[str] = []
    folders = [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    for candidate in (*candidates, *folders):
        path = candidate / "restic" if candidate.is_dir() else candidate
        if not os.access(path, os.X_OK):
            continue
        version = _ask_version(path)
        if version is not None and version >= MINIMUM:
            return Binary(path.resolve(), version, _sha256(path), _machine(path))
        seen.append(f"{path}: {show_version(version)}")
    raise ToolMissing(
        f"restic {show_version(MINIMUM)} or newer was not found on the console",
        remedy="Run script/setup: it takes restic from PATH or from your distribution.",
        detail="\n".join(seen),
    )


def parse_version(text: bytes) -> Version | None:
    """Given what `restic version` prints, return the version, or None when it is something else."""
    match = _VERSION.match(text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def show_version(version: Version | None) -> str:
    """Return a version as people write it."""
    return "unknown" if version is None else ".".join(map(str, version))


def needs_shipping(device_version: Version | None) -> bool:
    """Given the version of restic on a device (None when it has none), return whether ours must be sent."""
    return device_version is None or device_version < MINIMUM


def check_machine(binary: Binary, device_machine: str) -> None:
    """Raise ToolMissing when our program cannot run on a device whose `uname -m` says `device_machine`."""
    if binary.machine != device_machine:
        raise ToolMissing(
            f"The device needs a restic for {device_machine}, Hotfleet ships one for {binary.machine}",
            remedy=INSTALL,
        )


def _ask_version(path: Path) -> Version | None:
    try:
        result = subprocess.run(
            [path, "version"], capture_output=True, timeout=20, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(result.stdout) if result.returncode == 0 else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _machine(path: Path) -> str:
    """Return the machine of an ELF file, "unknown" for anything else (a wrapper script)."""
    with path.open("rb") as file:
        head = file.read(20)
    if len(head) < 20 or not head.startswith(b"\x7fELF"):
        return "unknown"
    order = "<" if head[5] == 1 else ">"
    return _MACHINES.get(struct.unpack(order + "H", head[18:20])[0], "unknown")
