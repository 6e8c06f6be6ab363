"""Another machine with an empty disk: booted into a rescue system first, then from that disk alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.vm.image import Image
from tests.vm.machine import KERNEL_WORDS, Vm

UEFI = Path("/usr/share/ovmf/OVMF.fd")
_DISK_BYTES = 5 * 2**30
# Of the lab's Debian only what a rescue system has: root's shell, network, sshd. It mounts nothing.
_LEFT_OUT = ("mariadb", "postgresql", "postgresql@15-main", "ledger")
_RESCUE_WORDS = " ".join((KERNEL_WORDS, "fstab=no", *(f"systemd.mask={name}.service" for name in _LEFT_OUT)))


class NewMachine(Vm):
    """Its empty disk is /dev/vdb in the rescue system, and the only one afterwards."""

    card = "52:54:00:77:77:01"

    def __init__(self, image: Image, folder: Path) -> None:
        super().__init__(image, folder)
        self._empty = folder / "empty"
        words = ["qemu-img", "create", "-q", "-f", "qcow2", str(self._empty), str(_DISK_BYTES)]
        subprocess.run(words, check=True)
        self._firmware: str | None = None

    def close(self) -> None:
        super().close()
        self._empty.unlink(missing_ok=True)

    def boot_alone(self, firmware: str) -> float:
        """Given "bios" or "uefi", boot from the disk that was empty; nothing else is attached. Return the
        seconds that took."""
        self._firmware = firmware
        return self.boot()

    def _words_of_start(self) -> list[str]:
        if self._firmware is None:
            words = super()._words_of_start()
            return [*words[:-1], _RESCUE_WORDS]
        return ["-bios", str(UEFI)] if self._firmware == "uefi" else []

    def _words_of_disks(self) -> list[str]:
        disk = ["-drive", f"if=virtio,discard=unmap,file={self._empty},format=qcow2,cache=writeback"]
        if self._firmware is not None:
            return disk
        return [*super()._words_of_disks()[:2], *disk]
