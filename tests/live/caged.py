"""Devices with mounts of their own: sshd, and with it every session, runs in a mount namespace.

What is mounted there is not visible out here; it goes with the last process of the device.
"""

from __future__ import annotations

from pathlib import Path

from tests.live.ground import Device, command
from tests.live.old_root import find_old_root


class CagedDevice(Device):
    """A device on which `setup` (shell) was run first. $1 is the device's directory."""

    def __init__(self, setup: str, **sshd_options: str) -> None:
        self._setup = setup
        super().__init__(**sshd_options)

    def _wrap_sshd(self, words: list[str]) -> list[str]:
        script = f'set -e; directory=$1; shift\n{self._setup}\nexec "$@"'
        inside = ["/bin/sh", "-c", script, "cage", str(self.directory), *words]
        return ["unshare", "-m", "--propagation", "private", *inside]


class OldDevice(CagedDevice):
    """Debian 11: its programs, its C library, its sshd. Kernel and processes are this machine's."""

    def __init__(self, **sshd_options: str) -> None:
        setup = """
            root=$directory/root
            mount --bind "$root" "$root"
            mount -t proc proc "$root/proc"
            mount --rbind /dev "$root/dev"
            mount -t tmpfs tmpfs "$root/run"
            mkdir -p "$root/run/sshd" "$root$directory"
            mount --rbind "$directory" "$root$directory"
            set -- chroot "$root" "$@"
        """
        super().__init__(setup, **sshd_options)

    def start_sshd(self) -> None:
        root = self.root
        if not root.exists():
            root.mkdir()
            command("tar", "-C", root, "-xf", find_old_root(), "--exclude=./dev/*")
        super().start_sshd()

    @property
    def root(self) -> Path:
        return self.directory / "root"
