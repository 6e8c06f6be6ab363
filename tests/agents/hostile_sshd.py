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
        self._unconfirmed: list[threading.Thread] = []

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
        self._unconfirmed.append(threading.Thread(target=self._run, args=(channel, command), daemon=True))
        return True

    def run_confirmed(self) -> None:
        """Run the commands whose start the client was told of. Only for the thread that tells it."""
        while self._unconfirmed:
            self._unconfirmed.pop().start()

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


class OrderlyTransport(paramiko.Transport):
    """Confirms the start of a command before that runs, as sshd does.

    By itself paramiko may confirm it after the command has ended and its channel is closed: the client takes
    that for a command that was never started.
    """

    def __init__(self, connection: socket.socket, manners: Manners) -> None:
        super().__init__(connection)
        self._manners = manners

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)
        if threading.current_thread() is self:
            self._manners.run_confirmed()


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
        self.transport = OrderlyTransport(connection, self.manners)
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
