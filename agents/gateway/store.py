"""What the gateway needs from a place that keeps files. Protocols only."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, Self

from agents.errors import RepositoryBroken
from agents.gateway.target import Kind, Target

_LOOK_AT_IT = "Look at the disk or mount where the repository is kept."


class StoreFailed(RepositoryBroken):
    """The store could not do it: no space, a failing disk, a missing mount. `reason` is one sentence."""

    def __init__(
        self, reason: str, *, remedy: str = _LOOK_AT_IT, detail: str = "", out_of_space: bool = False
    ) -> None:
        super().__init__(reason, remedy=remedy, detail=detail)
        self.reason = reason
        self.out_of_space = out_of_space

    @classmethod
    def of(cls, error: OSError) -> StoreFailed:
        """Given what the system said, return it as a StoreFailed."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return cls("there is no space left where the repository lives", out_of_space=True)
        return cls(f"the repository's storage failed: {error.strerror or error}")


class StoreUnreachable(StoreFailed):
    """The store is somewhere else and does not answer, or not now: trying again later can help."""

    code = "repository-unreachable"
    retryable = True


class Upload(Protocol):
    """A file on its way in: invisible until `publish`. Every method raises StoreFailed when it cannot."""

    def write(self, data: bytes) -> None: ...

    def publish(self) -> bool:
        """Give the file its name, durable when this returns True. Return False, and change nothing, when the
        name is taken: nothing is ever overwritten."""
        ...

    def discard(self) -> None:
        """Forget the file. Does nothing after `publish` returned True; may be called twice."""
        ...


class Reader(Protocol):
    """An open file of the store."""

    @property
    def size(self) -> int: ...

    def expect(self, end: int) -> None:
        """Say that nothing from byte `end` on will be read: a store far away then sends no more than that."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes. Raise StoreFailed when it cannot."""
        ...

    def close(self) -> None: ...


class Store(Protocol):
    """One repository's files. Threads share it. Every method raises StoreFailed when the store fails."""

    def begin(self, target: Target) -> Upload:
        """Return an upload for a file that does not exist yet."""
        ...

    def open(self, target: Target) -> Reader | None:
        """Return the file, or None when there is none."""
        ...

    def size(self, target: Target) -> int | None:
        """Return the file's size in bytes, or None when there is none."""
        ...

    def list(self, kind: Kind) -> Iterator[tuple[str, int]]:
        """Return name and size of every file of a folder that has a name of restic's."""
        ...

    def settle(self, target: Target) -> None:
        """Make the name of an existing file durable."""
        ...

    def remove(self, target: Target) -> None:
        """Remove a file. Does nothing when there is none."""
        ...


class OpenStore(Store, Protocol):
    """What the console itself needs of a store too. A context manager."""

    def move_out(self, target: Target, folder: Path) -> None:
        """Move a file out of the repository, into `folder` or what the store has for it. Does nothing when
        there is none."""
        ...

    def remove_temporary(self) -> int:
        """Remove what cut-off uploads left, return how many. Only while no run writes to this repository."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
