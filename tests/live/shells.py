"""Sessions in which /bin/sh of the device is dash or busybox ash, for everything that the runner starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agents.commands import Command
from agents.local import LocalSession
from agents.local_process import LocalProcess

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


class ShellSession(LocalSession):
    def __init__(self, shell: str) -> None:
        super().__init__()
        self.shell = shell

    def start(self, command: Command) -> LocalProcess:
        if self.shell == "busybox":
            command = Command((*_AS_BUSYBOX, *command.argv), command.stdin)
        return super().start(command)
