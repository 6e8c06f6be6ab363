"""Where the files of a run go that broke a rule: out of the repository, kept for whoever looks into it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from agents.gateway.journal import read_journal
from agents.gateway.local import LocalStore
from agents.gateway.store import OpenStore, StoreFailed
from agents.gateway.target import Kind, Target

# What makes others read a file goes first: a restore point, then the index, then the packs that it names.
_ORDER = (Kind.SNAPSHOTS, Kind.INDEX, Kind.DATA)


def set_aside(
    repository: Path,
    journal: Path,
    open_store: Callable[[], AbstractContextManager[OpenStore]] | None = None,
) -> Path:
    """Given a repository and the journal of a run that broke a rule, move every file that the run made into
    `<repository>.quarantine/<run id>/`, then the journal itself; return that directory. Of an object store
    the files go where its `move_out` says; the journal, which names them, lies in that directory too.

    The run's locks are removed. Files of other runs are never touched: a journal names only what its run
    made anew. May be called again after a crash. Raise StoreFailed when the disk does not do it."""
    folder = repository.with_name(f"{repository.name}.quarantine") / journal.stem
    entries = read_journal(journal)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with open_store() if open_store is not None else LocalStore(repository) as store:
                for kind in _ORDER:
                    for entry in entries:
                        if entry.kind is kind:
                            store.move_out(Target(kind, entry.name), folder)
                for entry in entries:
                    if entry.kind is Kind.LOCKS:
                        store.remove(Target(Kind.LOCKS, entry.name))
            os.fsync(descriptor)  # before the journal goes, which alone knows what is still to be moved
        finally:
            os.close(descriptor)
        journal.rename(folder / journal.name)
    except OSError as error:
        raise StoreFailed.of(error) from error
    return folder
