"""A repository that somebody else made: it gets our keys beside theirs, and nothing else of it changes."""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from agents.commands import Secret
from agents.errors import RepositoryBroken
from agents.restic import arguments, children
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.keys import make_cheap_key, open_master_key
from agents.restic.outcomes import RepositoryLocked, judge

OUR_HOST: Final = "hotfleet"
_KEY_TIMEOUT_S: Final = 300.0
# restic takes a lock for stale after this time, and refreshes its own every five minutes.
_LOCK_IS_STALE_S: Final = 30 * 60


def is_repository(path: Path) -> bool:
    """Return True when a directory looks like a restic repository."""
    return (path / "config").is_file() and all(
        (path / name).is_dir() for name in ("keys", "data", "snapshots")
    )


def is_of_a_console(path: Path) -> bool:
    """Return True when a key of a Hotfleet console lies in a repository: some console uses it, or did."""
    for file in (path / "keys").iterdir():
        try:
            record = json.loads(file.read_bytes())
        except ValueError:
            continue
        if isinstance(record, dict) and (record.get("hostname"), record.get("username")) == (
            OUR_HOST,
            "console",
        ):
            return True
    return False


def opens(path: Path, password: Secret) -> bool:
    """Return True when a password opens a repository. Takes as long as its key derivation."""
    try:
        open_master_key(path, password)
    except RepositoryBroken:
        return False
    return True


def require_idle(path: Path) -> None:
    """Raise RepositoryLocked when a lock in a repository is fresh: somebody works on it now."""
    now = time.time()
    for file in (path / "locks").glob("*"):
        if now - file.stat().st_mtime < _LOCK_IS_STALE_S:
            raise RepositoryLocked(
                "Somebody works on this repository now.",
                remedy="Stop what backs up into it, for good: it is the console's from then on. A lock of a "
                "program that died goes away by `restic unlock`.",
            )


def add_keys(path: Path, theirs: Secret, ours: Secret, recovery: Secret, binary: Binary) -> None:
    """Given a password that opens a repository, have the console's and the recovery password open it too.

    May be called again after it was cut off. Raise RepositoryBroken when their password does not open it, an
    AgentError when restic fails."""
    if not opens(path, recovery):
        with tempfile.NamedTemporaryFile("w") as file:  # 0600
            file.write(recovery.reveal())
            file.flush()
            command = Restic(str(binary.path)).command("key", "add", "--new-password-file", file.name)
            variables = arguments.environment(str(path), theirs)
            result = children.run(command, variables, timeout_s=_KEY_TIMEOUT_S)
        judge(result.status, result.tail)
    if opens(path, ours):
        return
    key = make_cheap_key(open_master_key(path, theirs), ours, user="console")
    fd = os.open(path / "keys" / key.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with open(fd, "wb") as target:
        target.write(key.content)
        target.flush()
        os.fsync(fd)
