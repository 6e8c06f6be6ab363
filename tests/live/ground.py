"""The test ground: devices that are network namespaces with a real sshd and real file systems.

A device shares the machine's file system, /run, users and process table with all others; its network, sshd,
keys, log and file systems are its own. Devices are numbered; a number is held by a file lock, so that test
runs at the same time do not meet, and what a killed test run left behind is removed by the next holder.

    with Device() as device:
        session = device.connect()
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from agents.ssh import HostKey, KeyPair, Target, authorized_keys_line, connect, make_key_pair, sudoers_line
from agents.ssh.session import SshSession
from tests.live.machine import BASE, claim_number, command, missing_parts, mounts_below, wait_until

__all__ = ["HOST_KEY_TYPES", "Device", "command", "device", "live_ground", "make_device", "wait_until"]

HOST_KEY_TYPES = ("ed25519", "ecdsa", "rsa")
_NO_SUCH_USER = 6
_FIRST_KEYS: dict[str, list[bytes]] = {}


@contextlib.contextmanager
def open_to_all() -> Iterator[Device]:
    """A device whose directories servers may enter that are not root."""
    with Device() as device:
        device.directory.chmod(0o755)
        device.btrfs.chmod(0o755)
        yield device


class Device:
    """One device. `close()` removes all of it, also what a test broke."""

    def __init__(self, **sshd_options: str) -> None:
        """Given sshd options that differ from those here (AllowTcpForwarding="no"), make the device."""
        self._lock_file, self.number = claim_number()
        self.name = f"hfg{self.number}"
        self.directory = BASE / str(self.number)
        self.namespace = self.name
        self._link_name, self._inner_name = f"{self.name}h", f"{self.name}d"
        high, low = divmod(self.number * 4, 256)
        self.console_address = f"10.213.{high}.{low + 1}"
        self.address = f"10.213.{high}.{low + 2}"
        self.port = 22
        self.users: list[str] = []
        self._sshd: subprocess.Popen[bytes] | None = None
        self._options = {
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "UsePAM": "no",
            "MaxStartups": "500",
            "MaxSessions": "100",
            "LogLevel": "DEBUG",
            **sshd_options,
        }
        try:
            self._remove_everything()
            self._create()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Making it

    def _create(self) -> None:
        self.directory.mkdir(parents=True)
        (self.directory / "keys").mkdir()
        command("ip", "netns", "add", self.namespace)
        command(
            "ip",
            "link",
            "add",
            self._link_name,
            "type",
            "veth",
            "peer",
            self._inner_name,
            "netns",
            self.namespace,
        )
        command("ip", "address", "add", f"{self.console_address}/30", "dev", self._link_name)
        command("ip", "link", "set", self._link_name, "up")
        for words in (
            ("address", "add", f"{self.address}/30", "dev", self._inner_name),
            ("link", "set", self._inner_name, "up"),
            ("link", "set", "lo", "up"),
        ):
            command("ip", "-n", self.namespace, *words)
        for key_type in HOST_KEY_TYPES:
            self._take_host_key(key_type)
        self.key_pair: KeyPair = make_key_pair(f"console-of-{self.name}")
        self.authorize("root")
        self.start_sshd()

    def _take_host_key(self, key_type: str) -> None:
        """Make a key. The RSA key is made once a test run and shared by all devices: it takes a second. The
        others are the device's own, so that a mixed up device is noticed."""
        pair = [self.directory / f"host_{key_type}", self.directory / f"host_{key_type}.pub"]
        if key_type != "rsa" or key_type not in _FIRST_KEYS:
            self._make_host_key(key_type)
            _FIRST_KEYS[key_type] = [path.read_bytes() for path in pair]
        for path, content in zip(pair, _FIRST_KEYS[key_type], strict=True):
            path.write_bytes(content)
            path.chmod(0o600)

    def _make_host_key(self, key_type: str) -> None:
        path = self.directory / f"host_{key_type}"
        path.unlink(missing_ok=True)
        size = ("-b", "2048") if key_type == "rsa" else ()
        command("ssh-keygen", "-q", "-t", key_type, *size, "-N", "", "-C", self.name, "-f", path)

    def authorize(self, user: str, line: str | None = None) -> None:
        """Write `user`'s authorized_keys: our key's proper line, or another (an empty one locks us out)."""
        path = self.directory / "keys" / user
        path.write_text((authorized_keys_line(self.key_pair.public_line) if line is None else line) + "\n")
        path.chmod(0o644)

    # sshd

    def start_sshd(self) -> None:
        """Start sshd in the namespace (the machine's mounts stay visible) and wait until it greets."""
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self.directory / "sshd_config"
        config.write_text(self._sshd_config())
        # Not `ip netns exec`: that makes a mount namespace too, and snapshots would be invisible out here.
        words = ["nsenter", f"--net=/run/netns/{self.namespace}"]
        sshd = ["/usr/sbin/sshd", "-D", "-f", str(config), "-E", str(self.directory / "sshd.log")]
        self._sshd = subprocess.Popen(words + self._wrap_sshd(sshd), stdin=subprocess.DEVNULL)
        wait_until(self._greets, what=f"a greeting of sshd on {self.name}")

    def _wrap_sshd(self, words: list[str]) -> list[str]:
        """Given what starts sshd, return what starts it here. For devices with mounts of their own."""
        return words

    def _sshd_config(self) -> str:
        keys = [f"HostKey {self.directory}/host_{key_type}" for key_type in HOST_KEY_TYPES]
        fixed = [
            f"ListenAddress {self.address}:{self.port}",
            f"PidFile {self.directory}/sshd.pid",
            f"AuthorizedKeysFile {self.directory}/keys/%u",
        ]
        options = [f"{name} {value}" for name, value in self._options.items()]
        # What root's own start-up files do here (pyenv locks itself for a minute) is not what is tested.
        home = ["Match User root", f"SetEnv HOME={self.directory}"]
        return "\n".join([*fixed, *keys, *options, *home, ""])

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=5) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False

    @property
    def sshd_pid(self) -> int:
        """The listener's process id."""
        if self._sshd is None:
            raise AssertionError("sshd does not run")
        return self._sshd.pid

    def stop_sshd(self) -> None:
        """End the listener. Open connections live on, as they do on a real machine."""
        if self._sshd is not None:
            self._sshd.terminate()
            self._sshd.wait(60)
            self._sshd = None

    def configure(self, **sshd_options: str) -> None:
        """Change options of sshd for the connections to come."""
        self._options.update(sshd_options)
        self.stop_sshd()
        self.start_sshd()

    def swap_host_key(self, *key_types: str) -> None:
        """Give sshd new host keys of these types (of all without a word), as a reinstalled machine has."""
        for key_type in key_types or HOST_KEY_TYPES:
            self._make_host_key(key_type)
        self.stop_sshd()
        self.start_sshd()

    @property
    def sshd_log(self) -> str:
        path = self.directory / "sshd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # Using it

    @property
    def host_keys(self) -> list[HostKey]:
        """The keys that a person would have approved."""
        lines = [(self.directory / f"host_{each}.pub").read_text().split() for each in HOST_KEY_TYPES]
        return [HostKey(words[0], base64.b64decode(words[1])) for words in lines]

    def target(self, user: str = "root") -> Target:
        return Target(self.address, self.port, user)

    def connect(self, user: str = "root", *, timeout_s: float = 60) -> SshSession:
        """Return an open session. The caller closes it."""
        return connect(
            self.target(user),
            private_key=self.key_pair.private_key,
            host_keys=self.host_keys[:1],
            timeout_s=timeout_s,
        )

    def pids(self) -> list[int]:
        """Return every process in the device's network namespace: sshd, its children, and what they run."""
        return [int(word) for word in command("ip", "netns", "pids", self.namespace).stdout.split()]

    def session_pids(self) -> list[int]:
        """Return every process on the device but the listener."""
        return [pid for pid in self.pids() if self._sshd is None or pid != self._sshd.pid]

    def cut(self) -> None:
        """Cut the network: packets vanish, nothing is reset."""
        # At the device's end: with our end down its packets would take the default route.
        command("ip", "-n", self.namespace, "link", "set", self._inner_name, "down")

    def heal(self) -> None:
        """End the cut. Afterwards sshd is reached again, if it runs: the kernel needs a moment for that."""
        command("ip", "-n", self.namespace, "link", "set", self._inner_name, "up")
        if self._sshd is not None:
            wait_until(self._greets, what=f"a greeting of sshd on {self.name} after the cut")

    # File systems and users

    @property
    def btrfs(self) -> Path:
        """The mount point of the device's btrfs. It is made when it is first asked for."""
        path = self.directory / "btrfs"
        return path if path.exists() else self.make_file_system("btrfs")

    def make_file_system(self, kind: str, *, name: str = "", size_mb: int = 1024) -> Path:
        """Make a loop file system (btrfs, ext4, xfs) and return where it is mounted."""
        mount_point = self.directory / (name or kind)
        image = self.directory / f"{mount_point.name}.img"
        with image.open("wb") as file:
            file.truncate(size_mb * 1024 * 1024)
        command(f"mkfs.{kind}", "-q", image)
        mount_point.mkdir()
        command("mount", "-t", kind, "-o", "loop", image, mount_point)
        return mount_point

    def make_user(self, *, may_sudo: bool, shell: str = "/bin/sh", suffix: str = "u") -> str:
        """Make a user with our key, with or without the sudo rule, and return the name."""
        user = f"{self.name}{suffix}"
        home = self.directory / f"home-{user}"
        home.mkdir()
        command("useradd", "--no-create-home", "--home-dir", home, "--shell", shell, "--password", "*", user)
        self.users.append(user)
        shutil.chown(home, user)
        self.authorize(user)
        if may_sudo:
            rule = self._sudoers_path(user)
            rule.write_text(sudoers_line(user) + "\n")
            rule.chmod(0o440)
        return user

    @staticmethod
    def _sudoers_path(user: str) -> Path:
        return Path("/etc/sudoers.d") / f"hotfleet-ground-{user}"

    # Removing it

    def close(self) -> None:
        """Remove all of it. May be called twice. Raise what went wrong, after everything was tried."""
        if self._lock_file.closed:
            return
        try:
            self._remove_everything()
        finally:
            self._lock_file.close()

    def _remove_everything(self) -> None:
        steps = (
            self._kill_processes,
            self._unmount,
            self._remove_network,
            self._remove_users,
            self._remove_files,
        )
        failures: list[Exception] = []
        for step in steps:
            try:
                step()
            except Exception as failure:
                failures.append(failure)
        if failures:
            raise ExceptionGroup(f"{self.name} could not be removed whole", failures)

    def _kill_processes(self) -> None:
        if not Path(f"/run/netns/{self.namespace}").exists():
            return

        def is_empty() -> bool:
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not self.pids()

        wait_until(is_empty, what=f"the end of the processes of {self.name}")
        if self._sshd is not None:
            self._sshd.wait(60)
            self._sshd = None

    def _unmount(self) -> None:
        for mount_point in reversed(mounts_below(self.directory)):
            if command("umount", mount_point, check=False).returncode != 0:
                command("umount", "--lazy", mount_point)

    def _remove_network(self) -> None:
        if Path(f"/sys/class/net/{self._link_name}").exists():
            command("ip", "link", "delete", self._link_name)
        if Path(f"/run/netns/{self.namespace}").exists():
            command("ip", "netns", "delete", self.namespace)

    def _remove_users(self) -> None:
        for line in Path("/etc/passwd").read_text().splitlines():
            user = line.split(":")[0]
            if user.startswith(self.name) and f"{self.directory}/home-" in line:
                self._sudoers_path(user).unlink(missing_ok=True)
                # A killed process of the user's counts until somebody collects it.
                wait_until(partial(self._is_deleted, user), what=f"the end of the user {user}")

    @staticmethod
    def _is_deleted(user: str) -> bool:
        return command("userdel", user, check=False).returncode in (0, _NO_SUCH_USER)

    def _remove_files(self) -> None:
        if mounts_below(self.directory):
            raise AssertionError(
                f"something is still mounted below {self.directory}: nothing is deleted there"
            )
        # A console that is closed after its device may still write a copy of itself there.
        until = time.monotonic() + 60
        while self.directory.exists():
            try:
                shutil.rmtree(self.directory)
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)


@pytest.fixture(scope="session")
def live_ground() -> None:
    """Skip where live tests cannot run; fail instead where CI runs them."""
    if missing := missing_parts():
        reason = f"live tests need: {', '.join(missing)}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def make_device(live_ground: None) -> Iterator[Callable[..., Device]]:
    """Make devices; all of them are gone after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda **sshd_options: stack.enter_context(Device(**sshd_options))


@pytest.fixture
def device(make_device: Callable[..., Device]) -> Device:
    """One device with sshd's options as a careful person sets them."""
    return make_device()
