"""Where a repository lies, as far as a restic of this machine must know: in a directory, or behind a door."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agents.errors import AgentError, RepositoryBroken
from agents.restic.keys import Key
from agents.restic.views import make_view

_FOLDERS = ("data", "index", "snapshots", "locks")


@dataclass(frozen=True, slots=True)
class Shown:
    """A repository as restic sees it with one key. `find_failure` says what its storage could not do, None
    when it did everything: restic's own words are about the door then, not about what is behind it."""

    url: str
    find_failure: Callable[[], AgentError | None]


class Location(Protocol):
    """Every method raises RepositoryBroken when the repository cannot be reached."""

    def read_keys(self) -> list[bytes]:
        """Return the content of every key file."""
        ...

    def show(self, key: Key, *, without_snapshots: bool = False) -> AbstractContextManager[Shown]:
        """Show the repository to restic with this key and no other, until the context ends.
        `without_snapshots`: as if it held none; those that are stored are gone then, and their data stays."""
        ...

    def remove_lock(self, name: str) -> None:
        """Remove a lock. Does nothing when there is none."""
        ...

    def drafting(self) -> AbstractContextManager[Path]:
        """Return an empty directory in which a repository is made; it gets its place when the context ends
        well, whole or not at all. Raise RepositoryBroken when the place is in use."""
        ...


@dataclass(frozen=True, slots=True)
class Directory:
    """A repository in a directory of this machine."""

    path: Path

    def read_keys(self) -> list[bytes]:
        try:
            return [file.read_bytes() for file in (self.path / "keys").iterdir()]
        except OSError as error:
            raise RepositoryBroken("the repository's keys cannot be read", detail=str(error)) from error

    @contextmanager
    def show(self, key: Key, *, without_snapshots: bool = False) -> Iterator[Shown]:
        with make_view() as view:
            (view / "keys").mkdir()
            (view / "keys" / key.name).write_bytes(key.content)
            if without_snapshots:
                (view / "snapshots").mkdir()
            for name in (*(each for each in _FOLDERS if not (view / each).exists()), "config"):
                (view / name).symlink_to(self.path.resolve() / name)
            yield Shown(str(view), lambda: None)

    def remove_lock(self, name: str) -> None:
        (self.path / "locks" / name).unlink(missing_ok=True)

    @contextmanager
    def drafting(self) -> Iterator[Path]:
        path = self.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and any(path.iterdir())):
            raise RepositoryBroken("the directory for the repository is in use")
        for left in path.parent.glob(f".{path.name}.*"):  # of a killed start; one run at a time makes it
            shutil.rmtree(left)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        draft.mkdir(mode=0o700)
        try:
            yield draft
            try:
                draft.rename(path)
            except OSError as error:
                detail = str(error)
                raise RepositoryBroken("the directory for the repository is in use", detail=detail) from error
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        sync_folder(path.parent)


def locate(place: Path | Location) -> Location:
    """Given a directory or a location, return the location."""
    return Directory(place) if isinstance(place, Path) else place


def sync_folder(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
