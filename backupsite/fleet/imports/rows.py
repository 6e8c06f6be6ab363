"""What a parser makes of a file. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# More devices are added in parts: while they are made nobody else writes to the database.
MOST_ROWS = 500
DEFAULT_USER = "root"
_JUMP = re.compile(r"(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:@\[\]]+)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class JumpText:
    """A jump host as a file writes it. `user` "": the file does not say it."""

    address: str
    port: str = "22"
    user: str = ""


@dataclass(frozen=True)
class Row:
    """One device of a file. `problem` is what the parser could not make sense of, in a sentence."""

    line: int
    name: str
    address: str
    port: str = "22"
    user: str = DEFAULT_USER
    tags: tuple[str, ...] = ()
    jump: JumpText | None = None
    problem: str = ""


@dataclass(frozen=True, order=True)
class Note:
    """What was passed over in a line, and why. `is_error`: the file cannot be used as it is."""

    line: int
    sentence: str
    is_error: bool = False


@dataclass(frozen=True)
class Parsed:
    """The devices of a file, and what was passed over."""

    rows: tuple[Row, ...] = ()
    notes: tuple[Note, ...] = ()


def fail(line: int, sentence: str) -> Parsed:
    """Return what says that a file cannot be used."""
    return Parsed(notes=(Note(line, sentence, is_error=True),))


def read_jump(text: str) -> JumpText:
    """Given user@host:port as ProxyJump takes it, return it. Raise ValueError with one sentence."""
    if "," in text:
        raise ValueError("Two jump hosts in a row are not taken.")
    match = _JUMP.fullmatch(text.strip().removeprefix("ssh://"))
    if match is None:
        raise ValueError("The jump host must be written like user@gate.example.org:22.")
    return JumpText(match["host"].strip("[]"), match["port"] or "22", match["user"] or "")
