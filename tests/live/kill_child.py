"""A worker that backs up like any other, but waits before each thing that it asks of the device.

It prints "step <number> <verb>" and waits for a line; when its stdin is closed it waits no more. It reads its
order as
`backup_child` does, and its runner is less patient than usual, so that a test need not be patient either."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from agents import backup
from agents.binds import Bind, Limits
from agents.commands import Command, Result, Secret
from agents.runner import Runner, SupervisedProgram
from tests.live import backup_child

SILENCE_S = 4.0


class Steps:
    """Numbers what is asked from the first undo step on: before it nothing of the device was changed."""

    def __init__(self) -> None:
        self.count = 0
        self.has_begun = False

    def wait(self, verb: str) -> None:
        if verb in ("owe", "start"):
            self.has_begun = True
        if not self.has_begun:
            return
        self.count += 1
        print("step", self.count, verb, flush=True)
        sys.stdin.readline()


STEPS = Steps()


class PausingRunner(Runner):
    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **{"silence_s": SILENCE_S, "heartbeat_s": 1.0, **options})

    def run(self, command: Command, *, timeout_s: float = 60.0, check: bool = True) -> Result:
        STEPS.wait("run")
        return super().run(command, timeout_s=timeout_s, check=check)

    def owe(self, key: str, undo: Command, *, within_s: float | None = None) -> None:
        STEPS.wait("owe")
        super().owe(key, undo, within_s=within_s)

    def settle(self, key: str) -> None:
        STEPS.wait("settle")
        super().settle(key)

    def write_file(self, name: str, content: bytes | Secret) -> str:
        STEPS.wait("write")
        return super().write_file(name, content)

    def start(
        self,
        command: Command,
        *,
        environment: Mapping[str, str | Secret],
        binds: Sequence[Bind] = (),
        scratch: Sequence[str] = (),
        limits: Limits = Limits(),  # noqa: B008 - frozen, shared safely
    ) -> SupervisedProgram:
        STEPS.wait("start")
        program = super().start(command, environment=environment, binds=binds, scratch=scratch, limits=limits)
        STEPS.wait("started")
        return program

    def close(self) -> None:
        STEPS.wait("close")
        super().close()


def main() -> None:
    backup.Runner = PausingRunner  # type: ignore[misc]  # the flow is the real one, its runner waits
    backup_child.main()


if __name__ == "__main__":
    main()
