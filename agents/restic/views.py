"""Views: the private directories in which restic sees a repository with one key of ours (see `repository`).

Whoever makes one holds a lock on it. A killed process leaves its view without a holder, and the next process
that makes one removes it: what lies there is worth nothing without the repository, but nobody else would.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "hotfleet-view-"


@contextmanager
def make_view() -> Iterator[Path]:
    """Make an empty directory for this process alone (0700), until the context ends."""
    _remove_abandoned()
    view, held = _make_held()
    try:
        yield view
    finally:
        shutil.rmtree(view, ignore_errors=True)
        os.close(held)


def _make_held() -> tuple[Path, int]:
    while True:  # until it is held, another process may take it for abandoned
        view = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            held = os.open(view, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(held, fcntl.LOCK_EX)
        if view.exists():
            return view, held
        os.close(held)


def _remove_abandoned() -> None:
    for view in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # It belongs to somebody else, is held, or is just going.
        with suppress(OSError):
            fd = os.open(view, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(fd).st_uid == os.geteuid():
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(view, ignore_errors=True)
            finally:
                os.close(fd)
