"""Lines for any login shell, and what such a shell says before the command speaks."""

from __future__ import annotations

import subprocess

import pytest

from agents.commands import Command
from agents.errors import PrivilegeMissing
from agents.ssh.noise import MOST_NOISE_BYTES, Mark, NoiseFilter

WORDS = [
    "a b",
    "'",
    '"',
    "$HOME",
    "`id`",
    "\\",
    "\\0101",
    "a\nb\n",
    "!x",
    "",
    "-n",
    "ä",
    "\udcff",
    "*",
    "%s",
    "\x01",
]


@pytest.mark.parametrize("shell", [["sh"], ["bash"], ["busybox", "sh"]])
def test_every_word_arrives_after_the_mark(shell: list[str]) -> None:
    mark = Mark()
    line = mark.line(Command.of("printf", "%s\\0", *WORDS))
    out = subprocess.run([*shell, "-c", line], capture_output=True, check=True).stdout
    words = NoiseFilter(mark, "x").strip(out).split(b"\0")[:-1]
    assert words == [word.encode("utf-8", "surrogateescape") for word in WORDS]


def test_a_line_holds_nothing_that_fish_or_csh_reads_in_another_way() -> None:
    line = Mark().line(Command.of("printf", *WORDS))
    inside = line.partition(b"'")[2].rpartition(b"'")[0]
    assert b"!" not in line
    assert b"\n" not in line
    assert b"\\\\" not in inside
    assert b"'" not in inside


def test_a_shell_that_repeats_the_line_does_not_print_the_mark() -> None:
    mark = Mark()
    assert mark.text not in mark.line(Command.of("id"))


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_noise_is_cut_off_wherever_the_pieces_break(size: int) -> None:
    mark = Mark()
    stream = b"Welcome! hotfleet" + mark.text[:-1] + b"\n" + mark.text + b"42\n" + mark.text
    noise = NoiseFilter(mark, "x")
    out = b"".join(noise.strip(stream[at : at + size]) for at in range(0, len(stream), size))
    noise.check_end()
    assert out == b"42\n" + mark.text


def test_output_without_the_mark_is_not_output() -> None:
    noise = NoiseFilter(Mark(), "backup@db1:22")
    assert noise.strip(b"This account is currently not available.\n") == b""
    with pytest.raises(PrivilegeMissing, match="backup@db1:22") as refusal:
        noise.check_end()
    assert refusal.value.detail == "This account is currently not available."


def test_endless_noise_ends() -> None:
    noise = NoiseFilter(Mark(), "x")
    with pytest.raises(PrivilegeMissing):
        noise.strip(b"y\n" * MOST_NOISE_BYTES)
