"""Running a command to its end, the same way over SSH and on the console's own machine."""

from __future__ import annotations

import threading
import time

from agents.commands import Command, Result, Secret, to_bytes
from agents.errors import ConnectionLost, ProtocolBroken
from agents.session import Process


def stdin_bytes(stdin: bytes | Secret | None) -> bytes:
    """Given what a command reads, return it as bytes. This is where a secret leaves for the program."""
    if isinstance(stdin, Secret):
        return to_bytes(stdin.reveal())
    return stdin or b""


def run_to_end(process: Process, command: Command, *, timeout_s: float, limit_bytes: int) -> Result:
    """Given a program that was just started for `command`, feed it, read it and return how it ended.

    stdin is written by a thread of its own while stdout is read here and stderr is drained by the process:
    nobody can wait for the other. The process is closed in every case. Raise TimeoutError, ConnectionLost,
    or ProtocolBroken when stdout grows over `limit_bytes`.
    """
    started = time.monotonic()
    deadline = started + timeout_s
    try:
        threading.Thread(target=_feed, args=(process, command.stdin), daemon=True).start()
        stdout = _collect(process, command, deadline, limit_bytes)
        status = process.wait(timeout_s=max(0.0, deadline - time.monotonic()))
        return Result(command, status, stdout, process.stderr_tail, time.monotonic() - started)
    finally:
        process.close()


def _feed(process: Process, stdin: bytes | Secret | None) -> None:
    try:
        process.write(stdin_bytes(stdin))
        process.close_stdin()
    except ConnectionLost:
        # A program may end without reading its input. A connection that is really lost is found by the
        # thread that reads.
        return


def _collect(process: Process, command: Command, deadline: float, limit_bytes: int) -> bytes:
    collected = bytearray()
    while data := process.read(timeout_s=max(0.0, deadline - time.monotonic())):
        collected += data
        if len(collected) > limit_bytes:
            raise ProtocolBroken(
                f"The command `{command.shell_line()[:200]}` printed more than {limit_bytes} bytes.",
                remedy="Run it on the device by hand and look why it prints so much.",
                detail=process.stderr_tail.decode("utf-8", "replace"),
            )
    return bytes(collected)
