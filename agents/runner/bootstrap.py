"""The constant program, and the tiny command that reads it from stdin, checks it and evaluates it."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from agents.commands import Command, escape_line

# In the order in which a shell must read them: `runner.sh` ends with the choice of what to do.
PARTS = (
    "processes.sh",
    "healing.sh",
    "cgroups.sh",
    "memory.sh",
    "reading.sh",
    "processor.sh",
    "watching.sh",
    "requests.sh",
    "programs.sh",
    "runner.sh",
)

# sudo logs this whole line, so it is constant for a version of Hotfleet and holds nothing of the user's.
_BOOTSTRAP = (
    # sudo's secure_path may name other folders: the checksum must be found whatever it says
    'PATH=$PATH:/usr/bin:/bin;IFS= read -r p&&p=$(printf %b "$p")&&'
    '[ "$(printf %s "$p"|sha256sum)" = "{digest}  -" ]||'
    '{{ echo "refused program checksum";exit 126; }};eval "$p"'
)


@cache
def read_program() -> bytes:
    """Return the program, without a newline at its end (a shell's `$(...)` removes it)."""
    here = Path(__file__).parent
    return b"".join((here / part).read_bytes() for part in PARTS).rstrip(b"\n")


def make_bootstrap(*, is_elevated: bool) -> Command:
    """Given whether the session needs sudo to be root, return the command that starts the program."""
    digest = hashlib.sha256(read_program()).hexdigest()
    words = ("/bin/sh", "-c", _BOOTSTRAP.format(digest=digest))
    return Command(("sudo", "-n", *words) if is_elevated else words)


def render_program() -> bytes:
    """Return the first line that the bootstrap reads."""
    return escape_line(read_program()) + b"\n"
