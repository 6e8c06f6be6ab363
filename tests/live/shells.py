"""Sessions in which /bin/sh of the device is dash or busybox ash, for everything that the runner starts."""

from __future__ import annotations

from agents.commands import Command
from agents.local import LocalSession
from agents.local_process import LocalProcess

SHELLS = ("dash", "busybox")
# Only processes of this session see the other /bin/sh.
_AS_BUSYBOX = (
    "unshare", "-m", "/bin/bash", "-c",
    'mount --bind "$(command -v busybox)" "$(readlink -f /bin/sh)" && exec "$@"', "session",
)  # fmt: skip


class ShellSession(LocalSession):
    def __init__(self, shell: str) -> None:
        super().__init__()
        self.shell = shell

    def start(self, command: Command) -> LocalProcess:
        if self.shell == "busybox":
            command = Command((*_AS_BUSYBOX, *command.argv), command.stdin)
        return super().start(command)
