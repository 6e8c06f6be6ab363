"""Programs on the console's own machine.

A child is killed when the console's process dies: the kernel does that by PR_SET_PDEATHSIG, set by setpriv.
It counts the death of the THREAD that started the child: so one thread starts all and lives as long as they.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from agents.commands import to_bytes
from agents.errors import ConnectionLost
from agents.tail import Tail

Child = subprocess.Popen[bytes]
_PIECE_BYTES = 65536
_POLL_S = 0.25
WRITE_STALL_S = 60.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Spawner:
    """Starts children, each as the leader of its own process group, and collects them at the end."""

    def __init__(self, user: str) -> None:
        # Nothing of the console's own environment: it holds addresses and secrets of the console.
        self._environment = {
            "PATH": SYSTEM_PATH,
            "HOME": str(Path("~").expanduser()),
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/sh",
            "LANG": "C.UTF-8",
        }
        setpriv = shutil.which("setpriv", path=SYSTEM_PATH)
        # Both end with 127 when the program does not exist, as a shell on a device does.
        self._prefix = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else ["/usr/bin/env", "--"]
        self._orders: queue.SimpleQueue[tuple[list[bytes], Future[Child]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="spawner", daemon=True).start()

    def start(self, words: Sequence[str]) -> Child:
        """Start a program with three pipes. Raise OSError when this machine cannot start anything."""
        answer: Future[Child] = Future()
        self._orders.put(([to_bytes(word) for word in (*self._prefix, *words)], answer))
        return answer.result()

    def close(self) -> None:
        """Start nothing more. The thread ends after the last child. May be called twice."""
        self._orders.put(None)

    def _work(self) -> None:
        children: list[Child] = []
        while (order := self._orders.get()) is not None:
            words, answer = order
            children = [child for child in children if child.poll() is None]
            try:
                child = self._spawn(words)
            except OSError as failure:
                answer.set_exception(failure)
            else:
                children.append(child)
                answer.set_result(child)
        for child in children:
            child.wait()

    def _spawn(self, words: list[bytes]) -> Child:
        return subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=self._environment,
            start_new_session=True,
        )


class Pipe:
    """One end of a pipe that any thread may close: its number is not used again after that."""

    def __init__(self, descriptor: int, events: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._poller = select.poll()
        self._poller.register(descriptor, events)
        self._lock = threading.Lock()
        self._is_closed = False

    def _await(self, deadline: float) -> None:
        while not self._is_closed and not self._poller.poll(_POLL_S * 1000):
            if time.monotonic() >= deadline:
                raise TimeoutError("nothing moved in time")
        if self._is_closed:
            raise ConnectionLost("The way to a command on this machine was closed here.")

    def read(self, timeout_s: float) -> bytes:
        """Return some bytes, b"" at the end. Raise TimeoutError, or ConnectionLost when closed here."""
        with self._lock:
            self._await(time.monotonic() + timeout_s)
            return os.read(self._descriptor, _PIECE_BYTES)

    def write(self, data: bytes) -> None:
        """Write all of it. Raise ConnectionLost when nobody reads any more."""
        rest = memoryview(data)
        with self._lock:
            while rest:
                try:
                    self._await(time.monotonic() + WRITE_STALL_S)
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:
                    continue  # room for less than one page: poll says "ready", write says "not for that"
                except (BrokenPipeError, TimeoutError) as failure:
                    raise ConnectionLost("A command on this machine takes no input any more.") from failure

    def close(self) -> None:
        """Close it, within a poll interval when another thread uses it. May be called twice."""
        was_closed, self._is_closed = self._is_closed, True
        with self._lock:
            if not was_closed:
                os.close(self._descriptor)


class LocalProcess:
    """A program on this machine. Implements agents.session.Process."""

    def __init__(self, child: Child) -> None:
        self._child = child
        # The pipes are ours from here on: Popen's file objects would close them at a time of their own.
        files = (child.stdin, child.stdout, child.stderr)
        numbers = [os.dup(file.fileno()) for file in files if file is not None]
        for file in files:
            if file is not None:
                file.close()
        child.stdin = child.stdout = child.stderr = None
        self._stdin = Pipe(numbers[0], select.POLLOUT)
        self._stdout = Pipe(numbers[1], select.POLLIN)
        self._stderr = Pipe(numbers[2], select.POLLIN)
        self._tail = Tail()
        self._drainer = threading.Thread(target=self._drain, name="stderr", daemon=True)
        self._drainer.start()

    def _drain(self) -> None:
        with contextlib.suppress(ConnectionLost):
            while data := self._stderr.read(float("inf")):
                self._tail.add(data)

    def write(self, data: bytes) -> None:
        self._stdin.write(data)

    def close_stdin(self) -> None:
        self._stdin.close()

    def read(self, *, timeout_s: float) -> bytes:
        return self._stdout.read(timeout_s)

    @property
    def stderr_tail(self) -> bytes:
        return self._tail.kept()

    def wait(self, *, timeout_s: float) -> int:
        try:
            status = self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError("the command did not end in time") from None
        self._drainer.join(1.0)
        return status if status >= 0 else 128 - status

    def kill(self) -> None:
        """Kill its process group. Programs that became root by sudo stay: only root may signal them."""
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def close(self) -> None:
        # The input last: a program that ends because of it must not look as if it had ended by itself.
        for pipe in (self._stdout, self._stderr, self._stdin):
            pipe.close()
