"""What the console and the program on the device say to each other, and the program itself."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.binds import NO_LIMITS, Bind, Limits, Volume
from agents.commands import Command, Secret
from agents.errors import (
    AgentError,
    ConnectionLost,
    DeviceBusy,
    DeviceHealed,
    PlatformRefused,
    PrivilegeMissing,
    ProtocolBroken,
)
from agents.runner.bootstrap import make_bootstrap, read_program, render_program
from agents.runner.program import render_start, sort_binds
from agents.runner.protocol import Answer, Answers, make_refusal, render_chunks


class Said:
    """A process that says these pieces and then ends with a status (None: it never ends)."""

    def __init__(self, *pieces: bytes, status: int | None = 137, stderr: bytes = b"") -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._status = status
        self.stderr_tail = stderr

    def write(self, data: bytes) -> None: ...

    def close_stdin(self) -> None: ...

    def read(self, *, timeout_s: float) -> bytes:
        return next(self._pieces, b"")

    def wait(self, *, timeout_s: float) -> int:
        if self._status is None:
            raise TimeoutError
        return self._status

    def close(self) -> None: ...


def test_an_answer_is_put_together_from_any_pieces() -> None:
    whole = b"done 7 3 5 4\nou\n\0terr!done 8 0 0 0\n"
    for cut in range(1, 6):
        answers = Answers(Said(*(whole[start : start + cut] for start in range(0, len(whole), cut))))
        assert answers.read_answer(7, timeout_s=1) == Answer(3, b"ou\n\0t", b"err!")
        assert answers.read_answer(8, timeout_s=1) == Answer(0, b"", b"")


class Interrupted(Said):
    """Somebody presses Ctrl-C before each piece."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(*pieces)
        self._is_next = True

    def read(self, *, timeout_s: float) -> bytes:
        self._is_next = not self._is_next
        if not self._is_next:
            raise KeyboardInterrupt
        return super().read(timeout_s=timeout_s)


def test_an_answer_that_nobody_waited_for_is_not_the_next_ones() -> None:
    """Interrupted before the head of an answer, and in the middle of its text."""
    answers = Answers(Interrupted(b"done 7 0 4 0\nab", b"cddone 8 5 1 0\nx"))
    for number in (7, 8):
        with pytest.raises(KeyboardInterrupt):
            answers.read_answer(number, timeout_s=1)
    assert answers.read_answer(8, timeout_s=1) == Answer(5, b"x", b"")


def test_only_what_was_given_up_is_passed_over() -> None:
    answers = Answers(Interrupted(b"done 6 0 0 0\n"))
    with pytest.raises(KeyboardInterrupt):
        answers.read_answer(7, timeout_s=1)
    with pytest.raises(ProtocolBroken):
        answers.read_answer(8, timeout_s=1)


@pytest.mark.parametrize(
    "line",
    [
        b"done 6 0 0 0\n",
        b"done 7 0 0\n",
        b"done 7 -1 0 0\n",
        b"done 7 0 0 9999999999\n",
        b"done 7 \xc2\xb2 0 0\n",
        b"hello\n",
        b"\n",
        b"x" * 9000,
    ],
)
def test_an_answer_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        Answers(Said(line)).read_answer(7, timeout_s=1)


@pytest.mark.parametrize(
    ("process", "error"),
    [
        (Said(status=137), DeviceHealed),
        (Said(status=0), DeviceHealed),
        (Said(b"done 7 0 5 0\nab"), DeviceHealed),
        (Said(status=None), ConnectionLost),
        (Said(status=1, stderr=b"sudo: a password is required"), PrivilegeMissing),
    ],
)
def test_an_end_in_the_middle_is_never_an_answer(process: Said, error: type[AgentError]) -> None:
    with pytest.raises(error):
        Answers(process).read_answer(7, timeout_s=1)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"refused busy hotfleet-a-b", DeviceBusy),
        (b"refused private x", PlatformRefused),
        (b"refused healed x", DeviceHealed),
        (b"refused program checksum", ProtocolBroken),
        (b"refused \xff", ProtocolBroken),
        (b"anything", ProtocolBroken),
    ],
)
def test_each_refusal_is_an_error_of_ours(line: bytes, error: type[AgentError]) -> None:
    assert type(make_refusal(line, b"said")) is error


@pytest.mark.parametrize("shell", ["dash", "busybox sh"])
def test_values_survive_printf_of_both_shells(shell: str) -> None:
    content = bytes(range(256)) * 20 + b"%%\\0101\n\n"
    lines = b"".join(line + b"\n" for line in render_chunks(content))
    script = 'while IFS= read -r line; do printf "%b" "$line"; done'
    done = subprocess.run([*shell.split(), "-c", script], input=lines, capture_output=True, check=True)
    assert done.stdout == content
    assert max(map(len, lines.split(b"\n"))) < 16_384
    assert lines.replace(b"\n", b"").isascii()


def test_the_bootstrap_is_tiny_and_constant_and_names_the_program() -> None:
    plain, elevated = make_bootstrap(is_elevated=False), make_bootstrap(is_elevated=True)
    assert elevated.argv == ("sudo", "-n", *plain.argv)
    assert len(plain.shell_line()) < 300
    assert hashlib.sha256(read_program()).hexdigest() in plain.argv[2]
    assert render_program().count(b"\n") == 1
    assert len(read_program()) < 100_000  # it travels as one variable of an environment (128 KiB)


DISK = Volume("/dev/mapper/v-s", "xfs", "ro,nouuid")


def test_a_start_holds_no_byte_that_a_line_cannot(tmp_path: Path) -> None:
    text = render_start(
        "/run/hotfleet/x",
        4,
        Command.of("restic", "a\nb"),
        {"RESTIC_PASSWORD": Secret("p\nw")},
        [Bind("/s/n", "/a/b"), Bind("/d", "/c", DISK), Bind("/d/e", "/c/e", DISK), Bind("/s", "/a")],
        ["/ca che"],
        NO_LIMITS,
    )
    lines = text.decode().split("\n")
    assert lines[:10] == ["attach", "/run/hotfleet/x", "4 28", "-", "-", "-", "-", "1", "4", "1"]
    assert lines[10:13] == ["xfs", "ro,nouuid", "/dev/mapper/v-s"]
    assert lines[13:21] == ["1", "/d", "/c", "/c", "0", "/s", "/a", "/a"]  # the outer ones first
    assert lines[21] == "0" and lines[25] == "1"
    assert lines[-4:] == ["1", "RESTIC_PASSWORD", "p\\0012w", ""]


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "IFS", "lower", "A-B", "A=B", "", "HOTFLEET_RUN"])
def test_these_variables_cannot_be_set(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be set"):
        render_start("/d", 1, Command.of("x"), {name: "y"}, [], [], Limits())


def test_outer_binds_come_before_what_lies_in_them() -> None:
    paths = ["/a/b/c", "/a", "/", "/z", "/a/b"]
    order = [bind.true_path for bind in sort_binds([Bind("/s", path) for path in paths])]
    assert all(order.index(outer) < order.index(inner) for outer, inner in (("/", "/a"), ("/a", "/a/b/c")))


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "program.sh"
    path.write_bytes(read_program() + b"\n")
    done = subprocess.run(["shellcheck", "--shell=sh", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("shell", ["dash", "busybox sh"])
def test_both_shells_can_parse_the_program(shell: str) -> None:
    subprocess.run([*shell.split(), "-n", "-c", read_program().decode()], check=True)
