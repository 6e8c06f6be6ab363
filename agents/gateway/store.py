"""What the gateway needs from a place that keeps files. Protocols only."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Protocol

from agents.errors import RepositoryBroken
from agents.gateway.target import Kind, Target


class StoreFailed(RepositoryBroken):
    """The store could not do it: no space, a failing disk, a missing mount. `reason` is one sentence."""

    def __init__(self, reason: str, *, out_of_space: bool = False) -> None:
        super().__init__(reason, remedy="Look at the disk or mount where the repository is kept.")
        self.reason = reason
        self.out_of_space = out_of_space

    @classmethod
    def of(cls, error: OSError) -> StoreFailed:
        """Given what the system said, return it as a StoreFailed."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return cls("there is no space left where the repository lives", out_of_space=True)
        return cls(f"the repository's storage failed: {error.strerror or error}")


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
