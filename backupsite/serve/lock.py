"""One copy a home: two supervisors over one database file and one socket would fight."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path

# How long the processes of a copy that was killed may take to go away.
_LEFTOVERS_S = 10.0


class AlreadyRunningError(Exception):
    """Another copy holds the home. Its text is for the person at the terminal."""


def take(home: Path, address: str) -> int:
    """Given the home and our address, return the descriptor that holds its lock until this process ends.

    Children that are forked later hold it too: no second copy starts over the remains of a killed one.
    Raise AlreadyRunningError, naming process and address, when another copy runs.
    """
    path = home / "serve.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(descriptor, home)
    except AlreadyRunningError:
        os.close(descriptor)
        raise
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"process": os.getpid(), "address": address}).encode(), 0)
    return descriptor


def _wait_for(descriptor: int, home: Path) -> None:
    until = time.monotonic() + _LEFTOVERS_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _refuse_while_holder_lives(descriptor, home)
            if time.monotonic() > until:
                raise AlreadyRunningError(
                    f"Processes of an earlier copy still use {home}. Find them with: fuser {home}/serve.lock"
                ) from None
            time.sleep(0.1)
        else:
            return


def _refuse_while_holder_lives(descriptor: int, home: Path) -> None:
    holder: dict[str, object] = {}
    with suppress(ValueError):  # empty for the instant between taking the lock and writing to it
        holder = json.loads(os.pread(descriptor, 4096, 0))
    process = holder.get("process")
    if isinstance(process, int) and Path(f"/proc/{process}").exists():
        raise AlreadyRunningError(
            f"Hotfleet runs already at {home}: process {process}, {holder.get('address')}.\n"
            "Use that one, stop it with Ctrl-C, or give this one another directory (HOTFLEET_HOME)\n"
            "and another port (HOTFLEET_PORT)."
        )
