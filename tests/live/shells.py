"""Sessions in which /bin/sh of the device is dash or busybox ash, for everything that the runner starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agents.commands import Command
from agents.errors import ConnectionLost, DeviceHealed, ProtocolBroken
from agents.events import Event
from agents.local import LocalSession
from agents.local_process import LocalProcess
from agents.runner import Runner
from tests.live.machine import wait_until

SHELLS = ("dash", "busybox")
# Only processes of this session see the other /bin/sh.
_AS_BUSYBOX = (
    "unshare", "-m", "/bin/bash", "-c",
    'mount --bind "$(command -v busybox)" "$(readlink -f /bin/sh)" && exec "$@"', "session",
)  # fmt: skip


def rewrite_program(directory: str, change: Callable[[str], str]) -> None:
    """Given a run's directory, change its program for processes that start from now on. A shell reads its
    script as it goes: one that has begun goes on with what it opened."""
    file = Path(directory, "program")
    text = file.read_text()
    changed = change(text)
    assert changed != text
    new = file.with_name("program.new")
    new.write_text(changed)
    new.replace(file)


# How long a run's console may be silent where silence is not what is tested: on a machine that does much else
# a test's threads wait for seconds, and the device would heal itself meanwhile.
PATIENT_S = 60


@contextmanager
def open_run(
    shell: str, console_id: str, told: list[Event], *, silence_s: int = PATIENT_S
) -> Iterator[Runner]:
    """A run under this shell, which tells into `told`. Its directory is gone after it."""
    run_id = f"r{time.monotonic_ns():x}"
    runner = Runner(
        ShellSession(shell), console_id=console_id, run_id=run_id, tell=told.append,
        silence_s=silence_s, heartbeat_s=0.5,
    )  # fmt: skip
    yield runner
    with suppress(ConnectionLost, DeviceHealed, ProtocolBroken):
        runner.close()
    wait_until(lambda: not Path(runner.directory).exists(), timeout_s=120, what="the end of the run")


class ShellSession(LocalSession):
    def __init__(self, shell: str) -> None:
        super().__init__()
        self.shell = shell

    def start(self, command: Command) -> LocalProcess:
        if self.shell == "busybox":
            command = Command((*_AS_BUSYBOX, *command.argv), command.stdin)
        return super().start(command)
