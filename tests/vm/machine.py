"""A virtual machine: QEMU in software mode (KVM hangs where the tests run), one process, ended by its id."""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from pathlib import Path

from agents.binds import Limits
from agents.commands import Command
from agents.errors import AgentError
from agents.session import Session
from agents.ssh import HostKey, KeyPair, Target, connect
from tests.vm.image import DISKS, Image

TOOLS = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mke2fs", "setpriv")
BOOT_TIMEOUT_S = 300.0
# For tests that do not look at pauses: what is emulated is always under pressure, and a backup of a few
# megabytes beside writers would be paused for minutes. tests/live/test_throttle.py proves the pauses.
UNPAUSED = Limits(pressure_budget=None)
KERNEL_WORDS = "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off quiet systemd.show_status=1"
# Beside much other work a unit may need longer than the 90 s after which systemd gives it up.
KERNEL_WORDS += " systemd.default_timeout_start_sec=600"


class Vm:
    """One machine. `close()` ends it and removes its disks; what the tests wrote is gone then."""

    card = "52:54:00:12:34:56"  # the address of its network card

    def __init__(self, image: Image, folder: Path, *, is_throw_away: bool = True) -> None:
        """Given an image and an empty folder, make the disks. Not throw-away: it writes into the image."""
        self.name = f"vm{secrets.token_hex(3)}"
        self.key_pair: KeyPair = image.key_pair
        self.host_keys: list[HostKey] = image.host_keys
        self.address = "127.0.0.1"
        self.port = _free_port()
        self.console_log = folder / "console.log"
        self._image = image
        self._folder = folder
        self._is_throw_away = is_throw_away
        self._qemu: subprocess.Popen[bytes] | None = None
        self._session: Session | None = None
        if is_throw_away:
            for disk in DISKS:
                _make_overlay(image.folder / disk, folder / disk)

    # Power

    def boot(self) -> float:
        """Switch it on and wait until all its services run. Return the seconds that took. Call it in a thread
        that lives as long as the machine shall: it ends with that thread."""
        started = time.monotonic()
        self._log_file = (self._folder / "qemu.log").open("ab")
        # No test run that is killed leaves a machine behind.
        words = ["setpriv", "--pdeathsig", "KILL", *self._words_of_qemu()]
        self._qemu = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=self._log_file, stderr=self._log_file
        )
        self._wait_until_up()
        return time.monotonic() - started

    def ensure_up(self) -> None:
        """Boot it when a test that failed left it switched off, or on its way down or up."""
        if self._qemu is None or not self._is_up():
            self.power_cut()
            self.boot()

    def power_cut(self) -> None:
        """End it at once. What it had not flushed to its disks is lost; `boot` goes on with the rest."""
        self._forget_session()
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()
            self._qemu = None
            self._log_file.close()

    def reboot(self) -> float:
        """Restart it in order and wait until all its services run. Return the seconds that took."""
        started = time.monotonic()
        # QEMU ends with it (-no-reboot) and is started again: after a warm reset in software mode the guest's
        # processors stand still for minutes now and then (soft lockups).
        self._shut_down("reboot")
        self.boot()
        return time.monotonic() - started

    def switch_off(self) -> None:
        """Shut it down in order and wait for its end."""
        self._shut_down("poweroff")

    def _shut_down(self, word: str) -> None:
        # It obeys a moment later: at once, the answer to this command would be lost now and then.
        self.run(f"systemd-run --quiet --on-active=1 --timer-property=AccuracySec=100ms systemctl {word}")
        self._forget_session()
        if self._qemu is not None:
            self._qemu.wait(BOOT_TIMEOUT_S)
        self.power_cut()

    def close(self) -> None:
        """End it and remove its disks. May be called twice."""
        self.power_cut()
        if self._is_throw_away:
            for disk in DISKS:
                (self._folder / disk).unlink(missing_ok=True)

    # Using it

    def target(self, user: str = "root") -> Target:
        return Target(self.address, self.port, user)

    def connect(self, user: str = "root", *, timeout_s: float = 30) -> Session:
        """Return an open session. The caller closes it."""
        key = self.key_pair.private_key
        return connect(self.target(user), private_key=key, host_keys=self.host_keys[:1], timeout_s=timeout_s)

    def run(self, script: str, *, timeout_s: float = 60, check: bool = True) -> str:
        """Run a shell script as root through a session of our own and return what it said on stdout.

        Raise AssertionError with what it said on stderr when `check` and its status is not 0."""
        if self._session is None:
            self._session = self.connect()
        result = self._session.run(Command(("/bin/sh", "-c", script)), timeout_s=timeout_s)
        if check and not result.is_success:
            raise AssertionError(f"status {result.status} in {self.name} of: {script[:500]}\n{result.tail}")
        return result.text

    def boot_id(self) -> str:
        return self.run("cat /proc/sys/kernel/random/boot_id").strip()

    def set_clock(self, *, years: int) -> None:
        """Move the guest's clock by so many years."""
        self.run(f"date -s '{years:+d} years'")

    def _forget_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    # Booting

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while not self._is_up():
            if time.monotonic() > deadline or self._qemu is None or self._qemu.poll() is not None:
                raise AssertionError(f"{self.name} did not boot:\n{self.said()}")
            time.sleep(0.5)
        state = self.run("systemctl is-system-running --wait", timeout_s=BOOT_TIMEOUT_S, check=False).strip()
        if state != "running":
            failed = self.run("systemctl --failed --plain --no-legend; systemctl list-jobs --no-legend")
            raise AssertionError(f"{self.name} is {state}:\n{failed}\n{self.said()}")

    def _is_up(self) -> bool:
        try:
            return bool(self.boot_id())
        except AgentError:  # nobody listens yet, or no longer
            self._forget_session()
            return False

    def said(self) -> str:
        """Return the end of what the machine and QEMU said."""
        paths = [path for path in (self.console_log, self._folder / "qemu.log") if path.exists()]
        return "\n".join(path.read_text(errors="replace")[-6000:] for path in paths)

    def _words_of_qemu(self) -> list[str]:
        words = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        words += ["-name", self.name, "-accel", "tcg,thread=multi", "-cpu", "max,la57=off,svm=off"]
        words += [
            "-smp",
            "2",
            "-m",
            "1536",
            "-serial",
            f"file:{self.console_log}",
            "-device",
            "virtio-rng-pci",
        ]
        user = f"user,id=net,restrict=on,hostfwd=tcp:{self.address}:{self.port}-:22"
        words += ["-netdev", user, "-device", f"virtio-net-pci,netdev=net,mac={self.card}"]
        return [*words, *self._words_of_start(), *self._words_of_disks()]

    def _words_of_start(self) -> list[str]:
        """Return how it starts: without a loader, with a kernel that lies beside its disks."""
        kernel, initrd = self._image.folder / "kernel", self._image.folder / "initrd"
        return ["-kernel", str(kernel), "-initrd", str(initrd), "-append", KERNEL_WORDS]

    def _words_of_disks(self) -> list[str]:
        words = []
        for disk in DISKS:
            place = f"file={self._folder / disk},format=qcow2,cache=writeback"
            if not self._is_throw_away:
                place = f"file={self._image.folder / disk},format=raw,cache=unsafe"
            words += ["-drive", f"if=virtio,discard=unmap,{place}"]
        return words


def _make_overlay(base: Path, overlay: Path) -> None:
    words = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(base), str(overlay)]
    subprocess.run(words, check=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
