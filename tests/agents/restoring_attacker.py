"""A user who owns a folder above a destination, and exchanges its parts with links to a victim."""

from __future__ import annotations

import contextlib
import ctypes
import os
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

USER = 54321
_EXCHANGE = 2
_RENAMEAT2 = 316 if os.uname().machine == "x86_64" else 276
_LIBC = ctypes.CDLL(None, use_errno=True)
_FORK = get_context("fork")


class Attacker:
    """A context in which the attack runs. `folder` is the user's; in it lies the destination `a/b`."""

    def __init__(self, folder: Path, victim: Path) -> None:
        ours, theirs = _FORK.Pipe()
        self._pipe: Connection[Any, Any] = ours
        self._process = _FORK.Process(target=_attack, args=(folder, victim, theirs), daemon=True)

    def __enter__(self) -> Attacker:
        self._process.start()
        assert self._pipe.recv() == "begun"
        return self

    def __exit__(self, *exception: object) -> None:
        is_alive = self._process.is_alive()
        self._process.kill()
        self._process.join()
        assert is_alive, "the attacker gave up"


def _exchange(one: str, other: str) -> None:
    _LIBC.syscall(_RENAMEAT2, -100, os.fsencode(one), -100, os.fsencode(other), _EXCHANGE)


def _attack(folder: Path, victim: Path, pipe: Connection[Any, Any]) -> None:
    os.chdir(folder)
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    places = ("a", "a/b", "a/b/c", "a/b/c/file", "a/b/fresh", "a/b/file (x)", "a/b/c/file (x)")
    for number, place in enumerate(places):
        os.symlink(f"{victim}/{place}" if number % 2 else victim, f"trap{number}")
    pipe.send("begun")
    while True:
        for name in ("a/b/file", "a/b/c/file", "a/b/type"):  # they are in the way of what comes
            with contextlib.suppress(OSError):
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o666))
        for number, place in enumerate(places):
            _exchange(place, f"trap{number}")
            with contextlib.suppress(OSError):
                os.symlink(victim, place)
            _exchange(place, f"trap{number}")
