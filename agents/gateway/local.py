"""A repository in a directory of this machine, in restic's own layout, written so that 200 means durable.

How a file comes in: (1) a temporary file in `tmp/` of the repository, which restic never lists; (2) fsync of
the file; (3) a hard link under its final name, which fails when the name is taken; (4) fsync of the folder;
(5) the temporary name goes. Every step works on a directory's descriptor with O_NOFOLLOW: no path is built
from what came over the wire, and a link planted in the repository leads nowhere.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Self

from agents.gateway.store import StoreFailed
from agents.gateway.target import FOLDERS, Kind, Target, is_name

TEMPORARY = "tmp"
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what the system says into StoreFailed."""
    try:
        yield
    except OSError as error:
        raise StoreFailed.of(error) from error


class LocalStore:
    """One repository's directory. Threads may share it. Close it, or use it as a context manager."""

    def __init__(self, root: Path) -> None:
        """Open the directory of an existing repository. Raise StoreFailed when it is not there."""
        self.mutex = threading.Lock()
        self._fds: dict[Kind | str, int] = {}
        with _told():
            self._fds[Kind.ROOT] = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _told():
                for folder in FOLDERS:
                    self._fds[folder] = _open_folder(self._fds[Kind.ROOT], folder, create=False)
                self._fds[TEMPORARY] = _open_folder(self._fds[Kind.ROOT], TEMPORARY, create=True)
            if self.size(Target(Kind.CONFIG, "")) is None:
                raise StoreFailed("there is no repository in this directory")
        except StoreFailed:
            self.close()
            raise

    def begin(self, target: Target) -> LocalUpload:
        """Return an upload for `target`. Raise StoreFailed when no temporary file can be made."""
        return LocalUpload(self, target)

    def open(self, target: Target) -> LocalReader | None:
        """Return the file, or None when there is none. Raise StoreFailed when it is not a plain file."""
        with _told(), self.folder_of(target) as folder:
            if folder is None:
                return None
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                fd = os.open(target.name or Kind.CONFIG, flags, dir_fd=folder)
            except FileNotFoundError:
                return None
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise StoreFailed("something in the repository is not a plain file")
        return LocalReader(fd, status.st_size)

    def size(self, target: Target) -> int | None:
        """Return the file's size, or None when there is none."""
        reader = self.open(target)
        if reader is None:
            return None
        reader.close()
        return reader.size

    def list(self, kind: Kind) -> Iterator[tuple[str, int]]:
        """Return name and size of every file of `kind` that has a name of restic's."""
        names = [f"{number:02x}" for number in range(256)] if kind is Kind.DATA else ["."]
        for name in names:  # "." too is opened anew: two listings must not share one reading position
            with _told(), _opened(self._fds[kind], name) as folder:
                if folder is not None:
                    yield from _list_folder(folder)

    def settle(self, target: Target) -> None:
        """Make the name of an existing file durable."""
        with _told(), self.folder_of(target) as folder:
            if folder is not None:
                os.fsync(folder)

    def remove(self, target: Target) -> None:
        """Remove a file; does nothing when there is none."""
        with _told(), self.folder_of(target) as folder, suppress(FileNotFoundError):
            if folder is not None and target.name:
                os.unlink(target.name, dir_fd=folder)

    def move_out(self, target: Target, folder: Path) -> None:
        """Move a file into another directory of the same disk; does nothing when it is not there."""
        with _told(), self.folder_of(target) as source, suppress(FileNotFoundError):
            if source is not None and target.name:
                os.rename(target.name, folder / f"{target.kind}-{target.name}", src_dir_fd=source)

    def remove_temporary(self) -> int:
        """Remove what cut-off uploads left, return how many. Only while no run writes to this repository."""
        with _told():
            names = os.listdir(self.temporary_fd)
            for name in names:
                os.unlink(name, dir_fd=self.temporary_fd)
        return len(names)

    def close(self) -> None:
        """Close the descriptors. May be called twice."""
        with self.mutex:
            while self._fds:
                os.close(self._fds.popitem()[1])

    @property
    def temporary_fd(self) -> int:
        return self._fds[TEMPORARY]

    def folder_of(self, target: Target, *, create: bool = False) -> AbstractContextManager[int | None]:
        """Return the descriptor of the folder that holds `target`, None when that folder is missing."""
        if target.kind is Kind.DATA and target.name:
            return _opened(self._fds[Kind.DATA], target.name[:2], create=create)
        return _borrowed(self._fds[Kind.ROOT if target.kind is Kind.CONFIG else target.kind])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalUpload:
    """A temporary file of the repository. Used by one thread."""

    def __init__(self, store: LocalStore, target: Target) -> None:
        self._store = store
        self._target = target
        self._temporary = secrets.token_hex(16)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with _told():
            self._fd = os.open(self._temporary, flags, 0o600, dir_fd=store.temporary_fd)

    def write(self, data: bytes) -> None:
        """Write all of `data`. Raise StoreFailed when it cannot."""
        with _told():
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]

    def publish(self) -> bool:
        """Make the file durable under its name. Return False when the name is taken."""
        with _told(), self._store.folder_of(self._target, create=True) as folder:
            os.fsync(self._fd)
            if folder is None or not self._link(folder):
                return False
            os.fsync(folder)
        self.discard()
        return True

    def discard(self) -> None:
        """Close and remove the temporary file. May be called twice."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        with _told(), suppress(FileNotFoundError):
            os.unlink(self._temporary, dir_fd=self._store.temporary_fd)

    def _link(self, folder: int) -> bool:
        name, temporary_fd = self._target.name or "", self._store.temporary_fd
        try:
            os.link(self._temporary, name, src_dir_fd=temporary_fd, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return self._rename(folder)
        return True

    def _rename(self, folder: int) -> bool:
        """Where the file system knows no hard links (some mounts): look, then rename, one at a time."""
        name = self._target.name or ""
        with self._store.mutex:
            with suppress(FileNotFoundError):
                os.stat(name, dir_fd=folder, follow_symlinks=False)
                return False
            os.rename(self._temporary, name, src_dir_fd=self._store.temporary_fd, dst_dir_fd=folder)
        return True


class LocalReader:
    """An open file of the repository."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self.size = size

    def expect(self, end: int) -> None:
        """A disk gives what is asked for, whatever was said before."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`. Raise StoreFailed when the disk does not give them."""
        with _told():
            return os.pread(self._fd, length, offset)

    def forget_cached(self) -> None:
        """Have the next reads come from the disk, not from what memory still holds of the file."""
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close it. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open_folder(parent: int, name: str, *, create: bool) -> int:
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    os.fsync(parent)
    return os.open(name, _FOLDER_FLAGS, dir_fd=parent)


@contextmanager
def _opened(parent: int, name: str, *, create: bool = False) -> Iterator[int | None]:
    try:
        fd = _open_folder(parent, name, create=create)
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _borrowed(fd: int) -> Iterator[int | None]:
    yield fd


def _list_folder(folder: int) -> Iterator[tuple[str, int]]:
    with _told(), os.scandir(folder) as entries:
        for entry in entries:
            if is_name(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # a lock that went away meanwhile
                    yield entry.name, entry.stat(follow_symlinks=False).st_size
