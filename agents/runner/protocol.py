"""The words between the console and the program on the device: escaped lines there, framed answers back."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from agents.commands import escape_line
from agents.errors import (
    AgentError,
    ConnectionLost,
    DeviceBusy,
    DeviceHealed,
    PlatformRefused,
    PrivilegeMissing,
    ProtocolBroken,
    ToolMissing,
)
from agents.session import Process

CHUNK_BYTES = 2048
ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
_LINE_LIMIT_BYTES = 4096

_REFUSALS: dict[bytes, tuple[type[AgentError], str, str]] = {
    b"busy": (DeviceBusy, "another run works on this device", "Wait for it to end."),
    b"healed": (DeviceHealed, "the device ended the run", "Start the run again."),
    b"platform": (PlatformRefused, "the device cannot hold a run", ""),
    b"private": (
        PlatformRefused,
        "the device cannot hide a snapshot's mounts",
        "util-linux 2.27 or later is needed.",
    ),
    b"bind": (PlatformRefused, "a snapshot cannot be shown at its true path", ""),
    b"privilege": (PrivilegeMissing, "the program is not root on the device", "Check the sudo rule."),
    b"tool": (ToolMissing, "a program is missing on the device", "Install it there."),
    b"program": (ProtocolBroken, "the program was changed on its way to the device", ""),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request ended with."""

    status: int
    out: bytes
    err: bytes


def render_chunks(content: bytes) -> list[bytes]:
    """Given any bytes, return lines that `printf %b` decodes to them; a heartbeat fits in between."""
    pieces = (content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES))
    return [b"\\0000".join(escape_line(part) for part in piece.split(b"\0")) for piece in pieces]


def join_lines(lines: Iterable[bytes]) -> bytes:
    """Given lines, return them with a newline at the end of each."""
    return b"".join(line + b"\n" for line in lines)


def make_refusal(line: bytes, stderr: bytes) -> AgentError:
    """Given a line "refused <code> <text>" and what stderr said, return the error that it means."""
    code, _, text = line.removeprefix(b"refused ").partition(b" ")
    kind, message, remedy = _REFUSALS.get(
        code, (ProtocolBroken, "the device refused for an unknown reason", "")
    )
    detail = stderr.decode("utf-8", "replace")
    return kind(f"{message}: {text.decode('utf-8', 'replace')[:500]}", remedy=remedy, detail=detail)


class Answers:
    """The stdout of the program, read as lines and as blocks of a known size."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._buffer = b""
        # The number, the status and the sizes of an answer whose texts were not read yet.
        self._head: tuple[int, int, int, int] | None = None
        self._given_up: set[int] = set()

    def read_line(self, *, timeout_s: float) -> bytes:
        """Return the next line without its newline. Raise TimeoutError (nothing is lost: call it again),
        ConnectionLost, DeviceHealed when the program ended, or ProtocolBroken."""
        limit = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LINE_LIMIT_BYTES:
                raise ProtocolBroken(
                    "the device answered with an endless line", detail=repr(self._buffer[:200])
                )
            self._fill(limit)
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def read_block(self, size: int, *, timeout_s: float) -> bytes:
        """Return exactly `size` bytes. Raises what `read_line` raises."""
        limit = time.monotonic() + timeout_s
        while len(self._buffer) < size:
            self._fill(limit)
        block, self._buffer = self._buffer[:size], self._buffer[size:]
        return block

    def take_rest(self) -> bytes:
        """Return what was read beyond the last line."""
        rest, self._buffer = self._buffer, b""
        return rest

    def read_answer(self, number: int, *, timeout_s: float) -> Answer:
        """Return the answer to request `number`. Raise ProtocolBroken when it is another one's, TimeoutError
        as `read_line` does.

        Whoever is interrupted here (Ctrl-C) gives an answer up: it comes all the same, and is passed over."""
        try:
            while True:
                answered, status, out_size, err_size = self._head = self._read_head(timeout_s)
                if answered != number and answered not in self._given_up:
                    raise ProtocolBroken("the device answered something else", detail=str(self._head))
                texts = self.read_block(out_size + err_size, timeout_s=60)
                self._head = None
                self._given_up.discard(answered)
                if answered == number:
                    return Answer(status, texts[:out_size], texts[out_size:])
        except (AgentError, TimeoutError):
            raise
        except BaseException:
            self._given_up.add(number)
            raise

    def _read_head(self, timeout_s: float) -> tuple[int, int, int, int]:
        if self._head is not None:
            return self._head
        line = self.read_line(timeout_s=timeout_s)
        if line.startswith(b"refused "):
            raise make_refusal(line, self._process.stderr_tail)
        words = line.split(b" ")
        if len(words) != 5 or words[0] != b"done" or not all(word.isdigit() for word in words[1:]):
            raise ProtocolBroken("the device gave no answer that we know", detail=repr(line[:200]))
        number, status, out_size, err_size = (int(word) for word in words[1:])
        if out_size + err_size > ANSWER_LIMIT_BYTES:
            raise ProtocolBroken("the device answered too much", detail=repr(line[:200]))
        return number, status, out_size, err_size

    def _fill(self, limit: float) -> None:
        data = self._process.read(timeout_s=max(0.01, limit - time.monotonic()))
        if not data:
            raise self._explain_end()
        self._buffer += data

    def _explain_end(self) -> AgentError:
        detail = self._process.stderr_tail.decode("utf-8", "replace")
        try:
            status = self._process.wait(timeout_s=5)
        except TimeoutError:
            return ConnectionLost("the device closed the channel", detail=detail)
        if status == 1 and "sudo:" in detail:
            return PrivilegeMissing("sudo refused the program", remedy="Check the sudo rule.", detail=detail)
        return DeviceHealed(
            f"the program on the device ended too early (status {status})",
            remedy="The device undoes by itself what was owed. Start the run again.",
            detail=detail,
        )
