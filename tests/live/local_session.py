"""The smallest real session: child processes of this machine, as the session's user (root in these tests)."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from select import select

from agents.commands import Command, Result, Secret, to_bytes
from agents.errors import ConnectionLost


class LocalProcess:
    def __init__(self, argv: Sequence[str]) -> None:
        self.child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self._stderr = b""
        self._drain = threading.Thread(target=self._read_stderr, daemon=True)
        self._drain.start()

    def _read_stderr(self) -> None:
        assert self.child.stderr is not None
        while data := self.child.stderr.read(65536):
            self._stderr = (self._stderr + data)[-65536:]

    def write(self, data: bytes) -> None:
        assert self.child.stdin is not None
        view = memoryview(data)
        try:
            while view:
                view = view[self.child.stdin.write(view) :]
        except (OSError, ValueError) as error:
            raise ConnectionLost(str(error)) from error

    def close_stdin(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()

    def read(self, *, timeout_s: float) -> bytes:
        assert self.child.stdout is not None
        ready, _, _ = select([self.child.stdout], [], [], timeout_s)
        if not ready:
            raise TimeoutError("nothing came")
        return self.child.stdout.read(65536) or b""

    @property
    def stderr_tail(self) -> bytes:
        return self._stderr

    def wait(self, *, timeout_s: float) -> int:
        try:
            status = self.child.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError("it still runs") from error
        self._drain.join(1)
        return status if status >= 0 else 128 - status

    def close(self) -> None:
        self.close_stdin()
        threading.Thread(target=self.child.wait, daemon=True).start()


class LocalSession:
    """`shell` replaces /bin/sh of the bootstrap: "dash", or "busybox sh"."""

    label = "here"
    is_elevated = False

    def __init__(self, shell: Sequence[str] = ("/bin/sh",)) -> None:
        self.shell = tuple(shell)
        self.processes: list[LocalProcess] = []

    def run(self, command: Command, *, timeout_s: float, limit_bytes: int = 4 * 1024 * 1024) -> Result:
        stdin = command.stdin
        given = to_bytes(stdin.reveal()) if isinstance(stdin, Secret) else stdin
        started = time.monotonic()
        done = subprocess.run(command.argv, input=given or b"", capture_output=True, timeout=timeout_s)
        return Result(command, done.returncode, done.stdout, done.stderr, time.monotonic() - started)

    def start(self, command: Command) -> LocalProcess:
        assert command.argv[0] == "/bin/sh"
        process = LocalProcess((*self.shell, *command.argv[1:]))
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.close()
