"""Which restic runs on a device: its own when it is new enough, else ours, sent and checked."""

from __future__ import annotations

from agents.commands import Command, Result
from agents.errors import CommandFailed, ToolMissing
from agents.restic.binary import Binary, check_machine, needs_shipping, parse_version, show_version
from agents.restic.libc import PLATFORM, check_libc
from agents.restic.shipping import ship
from agents.runner import Runner
from agents.session import Process, Session

_TIMEOUT_S = 30.0


class _Device:
    """Implements agents.restic.shipping.Device."""

    def __init__(self, session: Session, runner: Runner) -> None:
        self._session = session
        self._runner = runner

    def run(self, command: Command, *, timeout_s: float) -> Result:
        return self._runner.run(command, timeout_s=timeout_s, check=False)

    def start(self, command: Command) -> Process:
        # A plain channel, because the runner's programs read nothing. The sudo rule allows /bin/sh alone.
        if not self._session.is_elevated:
            return self._session.start(command)
        return self._session.start(Command(("sudo", "-n", "/bin/sh", *command.argv[1:]), command.stdin))


def place_restic(session: Session, runner: Runner, binary: Binary, *, is_local: bool) -> str:
    """Return the path of a restic that works on the device.

    Raise ToolMissing when it has none that is new enough and ours does not run there (another machine, an old
    C library, noexec), CommandFailed when it cannot keep ours."""
    if is_local:
        return str(binary.path)
    own = runner.run(Command.of("restic", "version"), timeout_s=_TIMEOUT_S, check=False)
    if own.is_success and not needs_shipping(parse_version(own.stdout)):
        return "restic"
    try:
        machine, _, libc = runner.run(PLATFORM, timeout_s=_TIMEOUT_S).text.partition("\n")
        check_machine(binary, machine)
        check_libc(binary, libc.strip())
        return ship(_Device(session, runner), binary)
    except (ToolMissing, CommandFailed) as error:
        version = parse_version(own.stdout) if own.is_success else None
        if version is not None:
            error.message += f"; its own restic {show_version(version)} is too old"
        raise
