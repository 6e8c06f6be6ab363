"""What a login shell says before our command speaks: cut off by a mark that the shell prints for us."""

from __future__ import annotations

import re
import secrets

from agents.commands import Command, escape_line, to_bytes, to_text
from agents.errors import PrivilegeMissing

MOST_NOISE_BYTES = 64 * 1024
# Inside of single quotes fish and csh read these otherwise than a POSIX shell does.
_SHELLS_DIFFER = re.compile(rb"[\\\n!]|[^\x20-\x7e]")

# What is printed in the place of a command, what it means, and what to do about it.
_KNOWN = (
    (
        "account is currently not available",
        "The account {} may not log in: its login shell is nologin.",
        "Give the user a shell (`usermod --shell /bin/sh USER`), or let the console sign in as another one.",
    ),
    (
        "password has expired",
        "The password of the account {} has expired: sshd lets nobody in before it is changed.",
        "Change it, or end its expiry (`chage -M -1 -d $(date +%F) USER`): the console signs in by key only.",
    ),
    (
        "sftp connections only",
        "The account {} is for SFTP only: sshd forces its own command.",
        "Take ForceCommand internal-sftp away from this user, or let the console sign in as another one.",
    ),
)


class Mark:
    """A text that stands before the output of every command of one session.

    It is printed in two parts, so that a shell that repeats the command line does not print it by chance.
    """

    def __init__(self) -> None:
        self._halves = ("hotfleet", secrets.token_hex(8))
        self.text = "".join(self._halves).encode("ascii")

    def line(self, command: Command) -> bytes:
        """Given a command, return the line for the login shell, whichever that is: POSIX, fish or csh."""
        return b"printf %s%s " + " ".join(self._halves).encode("ascii") + b"; " + _any_shell(command)


def _any_shell(command: Command) -> bytes:
    line = to_bytes(command.shell_line())
    if not _SHELLS_DIFFER.search(line):
        return line
    return b"""/bin/sh -c 'eval "$(printf %b "%s")"'""".replace(b"%s", escape_line(line))


class NoiseFilter:
    """Takes what stands before the mark out of one command's output."""

    def __init__(self, mark: Mark, label: str) -> None:
        self._mark = mark.text
        self._label = label
        self._before = b""
        self._is_over = False

    def strip(self, data: bytes) -> bytes:
        """Given the next bytes of output, return those that belong to the command, possibly none yet."""
        if self._is_over:
            return data
        before, found, after = (self._before + data).partition(self._mark)
        self._before = before
        if found:
            self._is_over = True
        elif len(before) > MOST_NOISE_BYTES:
            raise self._never_started()
        return after

    @property
    def is_over(self) -> bool:
        """True when the command itself speaks."""
        return self._is_over

    def check_end(self, errors: bytes = b"") -> None:
        """At the end of the output: raise PrivilegeMissing when the command was never started. `errors` is
        what came on stderr: sshd itself speaks there."""
        if not self._is_over:
            raise self._never_started(errors)

    def _never_started(self, errors: bytes = b"") -> PrivilegeMissing:
        said = to_text(self._before + b"\n" + errors).strip()
        for words, sentence, remedy in _KNOWN:
            if words in said.lower():
                return PrivilegeMissing(sentence.format(self._label), remedy=remedy, detail=said)
        return PrivilegeMissing(
            f"The login shell of {self._label} does not start commands.",
            remedy="Give the user a shell such as /bin/sh (`usermod --shell /bin/sh USER`), and take a "
            "forced command (command=, ForceCommand) away from the console's key.",
            detail=said,
        )
