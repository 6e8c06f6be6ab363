"""An SSH server that misbehaves on demand. Only for what a real sshd never does."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator

import paramiko
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from agents.ssh import HostKey, KeyPair, Target, connect, make_key_pair
from agents.ssh.session import SshSession


# Commands run as whoever runs the tests. Told that this is root, the console asks for no sudo.
_ROOT = b"id() { echo 0; }\n"


class Manners(paramiko.ServerInterface):
    """Takes every key and runs every command, except where a test says otherwise."""

    def __init__(self) -> None:
        self.answers_login = True
        self.answers_exec = True
        self.commands_before_silence = 1000
        self.gives_ports = True
        self.free = threading.Event()
        self.cancelled: list[int] = []

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if not self.answers_login:
            self.free.wait(30)
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.commands_before_silence -= 1
        if self.commands_before_silence < 0:
            self.free.wait(30)
        threading.Thread(target=self._run, args=(channel, command), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        done = subprocess.run(["sh", "-c", _ROOT + command], capture_output=True, stdin=subprocess.DEVNULL)
        with contextlib.suppress(OSError):
            channel.sendall(done.stdout)
            channel.sendall_stderr(done.stderr)
            channel.send_exit_status(done.returncode)
            channel.close()

    def check_port_forward_request(self, address: str, port: int) -> int:
        return 2222 if self.gives_ports else 0

    def cancel_port_forward_request(self, address: str, port: int) -> None:
        self.cancelled.append(port)


class HostileSshd:
    """Listens on loopback for one connection."""

    def __init__(self) -> None:
        self.manners = Manners()
        self.key = paramiko.ECDSAKey.generate()
        self.pair: KeyPair = make_key_pair("console")
        self._server = socket.create_server(("127.0.0.1", 0))
        self.transport: paramiko.Transport | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        self.transport = paramiko.Transport(connection)
        self.transport.add_server_key(self.key)
        with contextlib.suppress(paramiko.SSHException, EOFError):
            self.transport.start_server(server=self.manners)

    def connect(self, timeout_s: float = 10) -> SshSession:
        pin = HostKey(self.key.get_name(), self.key.asbytes())
        target = Target("127.0.0.1", self._server.getsockname()[1], "root")
        return connect(target, private_key=self.pair.private_key, host_keys=[pin], timeout_s=timeout_s)

    def open_tunnel_channel(self, port: int) -> paramiko.Channel:
        """Open a channel as if somebody had connected to `port` on the device."""
        if self.transport is None:
            raise AssertionError("nobody has connected")
        return self.transport.open_forwarded_tcpip_channel(("127.0.0.1", 1), ("127.0.0.1", port))

    def is_refused(self, port: int) -> bool:
        """Open such a channel, and return whether it was closed without a byte."""
        try:
            channel = self.open_tunnel_channel(port)
        except paramiko.SSHException:
            return True  # closed before paramiko's own server could look at it
        channel.settimeout(10)
        return channel.recv(1) == b""

    def close(self) -> None:
        self.manners.free.set()
        if self.transport is not None:
            self.transport.close()
        self._server.close()


@contextlib.contextmanager
def hostile_sshd() -> Iterator[HostileSshd]:
    server = HostileSshd()
    try:
        yield server
    finally:
        server.close()
