"""Which C library a program needs, and whether a device has it. Pure but for reading the program."""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from agents.commands import Command
from agents.errors import ToolMissing
from agents.restic.binary import INSTALL, Binary

# The first line is the machine, the second the C library: "glibc 2.36", "musl" or nothing.
PLATFORM = Command.of(
    "sh",
    "-c",
    "uname -m; getconf GNU_LIBC_VERSION 2>/dev/null || "
    '{ set -- /lib/ld-musl-*; [ -e "$1" ] && echo musl; }; true',
)
_LOADER = re.compile(rb"/ld-linux[-\w.]*\.so\.[0-9]+\0")
_NEEDED = re.compile(rb"\0GLIBC_([0-9]+)\.([0-9]+)")


def find_needed_glibc(program: Path) -> tuple[int, int] | None:
    """Given a program, return the oldest glibc in which it starts, or None when it needs none (static)."""
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if _LOADER.search(content, 0, 64 * 1024) is None:
            return None
        versions = [(int(found[1]), int(found[2])) for found in _NEEDED.finditer(content)]
    return max(versions, default=None)


def check_libc(binary: Binary, libc: str) -> None:
    """Given the C library of a device ("glibc 2.31", "musl", "" when it does not say), raise ToolMissing when
    our program cannot start there."""
    needed = find_needed_glibc(binary.path)
    found = re.fullmatch(r"glibc ([0-9]+)\.([0-9]+).*", libc)
    if needed is None or (found is None and libc != "musl"):
        return
    if found is not None and (int(found[1]), int(found[2])) >= needed:
        return
    has = f"this device has {'musl' if found is None else f'{found[1]}.{found[2]}'}"
    raise ToolMissing(
        f"The restic that Hotfleet ships needs {'a newer' if found is not None else 'another'} C library "
        f"(glibc {needed[0]}.{needed[1]}; {has})",
        remedy=INSTALL,
    )
