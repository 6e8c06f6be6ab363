"""An open way to a device over SSH. Implements agents.session.Session."""

from __future__ import annotations

from contextlib import AbstractContextManager

from agents.commands import Command, Result
from agents.errors import ConnectFailed
from agents.privileges import needs_sudo
from agents.running import run_to_end, stdin_bytes
from agents.session import Door, Serve
from agents.ssh.channels import SshProcess
from agents.ssh.door import Dispatcher
from agents.ssh.link import Link
from agents.ssh.noise import Mark


class SshSession:
    """Threads may share it. Never fork with one open: the threads do not exist in the child."""

    def __init__(self, link: Link, *, timeout_s: float) -> None:
        """Given a link, find out who we are there. Raise PrivilegeMissing, ConnectFailed when no command is
        started in time, and what `run` raises."""
        self._link = link
        self._mark = Mark()
        self._dispatcher = Dispatcher(link)
        try:
            self._is_elevated = needs_sudo(
                lambda command: self.run(command, timeout_s=timeout_s), link.target.user
            )
        except TimeoutError as failure:
            raise ConnectFailed(
                f"The login at {self.label} works, but no command is started within {timeout_s:.0f} s.",
                remedy=f"Sign in as {link.target.user} and look what takes so long: start-up files "
                "(.bashrc), a home on a share that hangs, sudo that asks a server which does not answer.",
            ) from failure

    @property
    def label(self) -> str:
        return self._link.target.label

    @property
    def is_elevated(self) -> bool:
        return self._is_elevated

    def _begin(self, command: Command) -> SshProcess:
        process = SshProcess(self._link, self._link.open_channel(), self._mark)
        process.exec(command, self._mark)
        return process

    def run(self, command: Command, *, timeout_s: float, limit_bytes: int = 4 * 1024 * 1024) -> Result:
        return run_to_end(self._begin(command), command, timeout_s=timeout_s, limit_bytes=limit_bytes)

    def start(self, command: Command) -> SshProcess:
        process = self._begin(command)
        try:
            process.write(stdin_bytes(command.stdin))
        except BaseException:
            process.close()
            raise
        return process

    def open_door(self, serve: Serve) -> AbstractContextManager[Door]:
        return self._dispatcher.open_door(serve)

    def close(self) -> None:
        self._link.close()
        self._dispatcher.close()
