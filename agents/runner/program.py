"""A long program on the device, supervised through the run's directory by a channel of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from agents.binds import Bind, Limits
from agents.commands import Command, Secret, escape_line, to_bytes, to_text
from agents.errors import ConnectionLost, ProtocolBroken
from agents.runner.bootstrap import make_bootstrap, render_program
from agents.runner.protocol import Answers, join_lines, make_refusal
from agents.session import Process, Session

START_TIMEOUT_S = 30.0
_VARIABLE = re.compile(r"^[A-Z][A-Z0-9_]*$")
# They would change the supervisor itself, which hands them on.
_FORBIDDEN_VARIABLES = frozenset({"PATH", "IFS", "ENV", "PS4", "HOTFLEET_RUN"})


class SupervisedProgram:
    """A running long program. It is a `session.Process`; closing its stdin or itself ends the program."""

    def __init__(self, process: Process, number: int, rest: bytes, *, note: str = "") -> None:
        """Given also what the device says about the start: a sentence when a limit is not possible there."""
        self._process = process
        self._rest = rest
        self.number = number
        self.note = note

    def write(self, data: bytes) -> None:
        """Never: its stdin is /dev/null. Raise ProtocolBroken."""
        raise ProtocolBroken("a long program reads nothing")

    def close_stdin(self) -> None:
        """Tell the device to end the program."""
        self._process.close_stdin()

    def read(self, *, timeout_s: float) -> bytes:
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        return self._process.read(timeout_s=timeout_s)

    @property
    def stderr_tail(self) -> bytes:
        return self._process.stderr_tail

    def wait(self, *, timeout_s: float) -> int:
        return self._process.wait(timeout_s=timeout_s)

    def close(self) -> None:
        """Close the channel: the device ends the program's group (TERM, then KILL after two seconds)."""
        self._process.close()


def start_program(
    session: Session,
    directory: str,
    number: int,
    command: Command,
    *,
    environment: Mapping[str, str | Secret],
    binds: Sequence[Bind],
    scratch: Sequence[str],
    limits: Limits,
) -> SupervisedProgram:
    """Given a run's directory, return the program once its namespace is private and every bind is in place.

    Raise PlatformRefused when the device cannot do that, DeviceHealed when the run is over, ConnectionLost
    when it does not answer in time."""
    if command.stdin is not None:
        raise ValueError("a long program reads nothing from stdin")
    lines = render_start(directory, number, command, environment, binds, scratch, limits)
    process = session.start(make_bootstrap(is_elevated=session.is_elevated))
    try:
        process.write(render_program() + lines)
        answers = Answers(process)
        try:
            line = answers.read_line(timeout_s=START_TIMEOUT_S)
        except TimeoutError as error:
            raise ConnectionLost("the device did not start a program in time") from error
        word, _, note = line.partition(b" ")
        if word != b"started":
            raise make_refusal(line, process.stderr_tail)
    except BaseException:
        process.close()
        raise
    return SupervisedProgram(process, number, answers.take_rest(), note=to_text(note))


def render_start(
    directory: str,
    number: int,
    command: Command,
    environment: Mapping[str, str | Secret],
    binds: Sequence[Bind],
    scratch: Sequence[str],
    limits: Limits,
) -> bytes:
    """Given what to start, return what `attach` reads: what the namespace needs, then the variables."""
    volumes = list(dict.fromkeys(bind.volume for bind in binds if bind.volume is not None))
    inner = [_number(limits.niceness), _number(limits.io_priority), _number(limits.memory_bytes)]
    inner += [b"-" if limits.pressure_budget is None else b"1", b"%d" % len(volumes)]
    inner += [b"%d" % len(binds), b"%d" % len(scratch)]
    for volume in volumes:
        inner += [escape_line(volume.kind), escape_line(volume.options), escape_line(volume.path)]
    for bind in sort_binds(binds):
        inner.append(b"0" if bind.volume is None else b"%d" % (volumes.index(bind.volume) + 1))
        inner += [escape_line(bind.snapshot_path), escape_line(bind.true_path)]
        inner.append(escape_line(escape_mount_point(bind.true_path)))
    inner += [escape_line(path) for path in scratch]
    inner.append(escape_line(command.shell_line()))
    variables = {**limits.environment, **environment}
    outer = [
        b"attach",
        escape_line(directory),
        b"%d %d" % (number, len(inner)),
        *inner,
        b"%d" % len(variables),
    ]
    for name, value in variables.items():
        if not _VARIABLE.match(name) or name in _FORBIDDEN_VARIABLES or name.startswith("LD_"):
            raise ValueError(f"{name!r} cannot be set for a long program")
        outer += [name.encode(), escape_line(value.reveal() if isinstance(value, Secret) else value)]
    return join_lines(outer)


def sort_binds(binds: Sequence[Bind]) -> list[Bind]:
    """Given binds, return them so that an outer path comes before what lies in it."""
    return sorted(binds, key=lambda bind: bind.true_path.rstrip("/").count("/"))


def escape_mount_point(path: str) -> bytes:
    """Given a path, return it as /proc/self/mountinfo shows it (octal for white space, backslash)."""
    escaped = {0x20: b"\\040", 0x09: b"\\011", 0x0A: b"\\012", 0x5C: b"\\134"}
    return b"".join(escaped.get(byte, bytes([byte])) for byte in to_bytes(path))


def _number(value: int | None) -> bytes:
    return b"-" if value is None else b"%d" % value
