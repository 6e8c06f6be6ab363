"""Commands for a device. The only place that quotes a word or shows a secret."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

_SAFE = re.compile(rb"^[A-Za-z0-9_@%+=:,./-]+$")


class Secret:
    """A text that shows itself only by `reveal()`. Not a `str`, so nothing formats it by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text. Call it only where the value leaves for its one reader."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(****)"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return "****"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(to_bytes(self._text), to_bytes(other._text))

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is never pickled")


def to_bytes(text: str) -> bytes:
    """Given text from or for a device, return its bytes. Lossless together with `to_text`."""
    return text.encode("utf-8", "surrogateescape")


def to_text(data: bytes) -> str:
    """Given bytes of a device, return text. Bytes that are not UTF-8 become surrogates and survive."""
    return data.decode("utf-8", "surrogateescape")


def quote(word: str) -> str:
    """Given one word, return it quoted for a POSIX shell. Raise ValueError when it holds a NUL byte."""
    if "\0" in word:
        raise ValueError("a command word cannot hold a NUL byte")
    if word and _SAFE.match(to_bytes(word)):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def escape_line(word: str | bytes) -> bytes:
    """Given any bytes but NUL, return one line of printable ASCII that `printf %b` decodes to the same bytes.

    Every byte outside of a small set becomes `\\0ooo` (POSIX printf, XSI octal form), so that a value can be
    read with `read -r`, whatever it holds. Raise ValueError when it holds a NUL byte.
    """
    data = to_bytes(word) if isinstance(word, str) else word
    if b"\0" in data:
        raise ValueError("a value for the runner cannot hold a NUL byte")
    return b"".join(bytes([b]) if _SAFE.match(bytes([b])) and b != 0x25 else b"\\0%03o" % b for b in data)


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its words, and what it reads on stdin. No secret may be a word: give it as `stdin`."""

    argv: tuple[str, ...]
    stdin: bytes | Secret | None = None

    @classmethod
    def of(cls, *words: str, stdin: bytes | Secret | None = None) -> Command:
        """Return a command of these words."""
        return cls(tuple(words), stdin)

    def shell_line(self) -> str:
        """Return the command as one line that a POSIX shell understands (also what "Show commands" shows)."""
        return join(self.argv)


def join(words: Iterable[str]) -> str:
    """Given words, return one quoted shell line."""
    return " ".join(quote(word) for word in words)


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended. `status` is the exit code, or 128 + the signal's number."""

    command: Command
    status: int
    stdout: bytes
    stderr: bytes
    seconds: float = 0.0

    @property
    def is_success(self) -> bool:
        return self.status == 0

    @property
    def text(self) -> str:
        """stdout as text, every byte kept."""
        return to_text(self.stdout)

    @property
    def tail(self) -> str:
        """The last lines of stderr (or of stdout when stderr is empty), at most 2,000 characters."""
        return to_text(self.stderr or self.stdout).strip()[-2000:]
