"""Which directories of this machine can hold backups: read from the system, nothing is written."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agents.errors import ProtocolBroken
from agents.facts.mounts import Mount, find_mount, is_within, parse_mounts

_SYSTEM: Final = ("/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/usr")
_EMPTIED: Final = ("/tmp", "/var/tmp")  # noqa: S108 (these are the ones that are refused)
_MEMORY: Final = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_MEANT_FOR_ALL: Final = 0o022


class StorageRefused(Exception):
    """A directory cannot hold backups. The text is one or two sentences for the person who chose it."""


@dataclass(frozen=True)
class Space:
    """What a file system holds in all, and what we may still write to it."""

    total_bytes: int
    free_bytes: int

    @property
    def used_bytes(self) -> int:
        return self.total_bytes - self.free_bytes


@dataclass(frozen=True)
class Place:
    """A directory that could hold backups, for a person to choose."""

    path: str
    kind: str
    source: str
    space: Space
    is_network: bool


def measure_space(path: Path) -> Space:
    """Given a directory, return the space of its file system. Raise OSError when it cannot be asked."""
    facts = os.statvfs(path)
    return Space(facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize)


def read_mounts() -> tuple[Mount, ...]:
    """Return what is mounted on this machine. Raise OSError or ProtocolBroken when that is not known."""
    return parse_mounts(Path("/proc/self/mountinfo").read_bytes())


def list_places(home: Path) -> list[Place]:
    """Return the suggested directory in the home and each real, writable file system, the largest first."""
    mounts = read_mounts()
    places = {}
    for mount in mounts:
        if mount.is_pseudo or mount.is_read_only or _is_system(mount.point) or mount.point == "/":
            continue
        path = Path(mount.point) / "hotfleet"
        # A file (of a container) can be a mount point too.
        if path.parent.is_dir() and os.access(path.parent, os.W_OK) and _is_good(path, home):
            places[mount.device] = _make_place(str(path), mount)
    own = _make_place(str(home / "repositories"), find_mount(os.path.realpath(home), mounts))
    return [own, *sorted(places.values(), key=lambda place: -place.space.free_bytes)]


def _is_good(path: Path, home: Path) -> bool:
    """Return False for what would be refused: nobody is offered that."""
    try:
        check_place(str(path), home)
    except StorageRefused:
        return False
    return True


def _make_place(path: str, mount: Mount) -> Place:
    return Place(path, mount.kind, mount.source, measure_space(Path(mount.point)), mount.is_network)


def check_place(text: str, home: Path) -> Path:
    """Given what somebody typed, return the directory (it may not exist yet, its parent does).

    Raise StorageRefused with the reason. Links are refused, as is every directory above that other users may
    write to: they could put another directory in its place.
    """
    path = _read_path(text)
    _refuse_by_name(path, home)
    real = os.path.realpath(path)
    if real != str(path):
        raise StorageRefused(f"{path} leads through a link to {real}. Write that path if you mean it.")
    if path.exists() and not path.is_dir():
        raise StorageRefused(f"{path} is a file, not a directory.")
    if not path.parent.is_dir():
        raise StorageRefused(f"{path.parent} does not exist. Make it first, or mount its disk.")
    _refuse_by_mount(path)
    for directory in (path, *path.parents):
        _refuse_shared(directory)
    return path


def _read_path(text: str) -> Path:
    if not text.startswith("/"):
        raise StorageRefused("Write the whole path, beginning with /, for example /srv/backups.")
    if not text.isprintable() or len(os.fsencode(text)) > 1000:
        raise StorageRefused("The path holds characters that cannot be shown, or is too long.")
    if ".." in text.split("/"):
        raise StorageRefused("The path must not hold “..”.")
    return Path(os.path.normpath("/" + text.lstrip("/")))


def _refuse_by_name(path: Path, home: Path) -> None:
    if str(path) == "/":
        raise StorageRefused("/ is the whole machine. Choose a directory for backups alone.")
    if _is_system(str(path)):
        raise StorageRefused(f"{path} belongs to the system. Choose a directory for backups alone.")
    if is_within(str(path), str(home)):
        if path == home or path.parent != home:
            raise StorageRefused(
                f"{home} holds the console's own data. In it, only {home}/repositories will do."
            )
    elif any(is_within(str(path), directory) for directory in _EMPTIED):
        raise StorageRefused(f"{path} is emptied by the system from time to time.")


def _is_system(path: str) -> bool:
    return any(is_within(path, directory) for directory in _SYSTEM)


def _refuse_by_mount(path: Path) -> None:
    try:
        mount = find_mount(str(path), read_mounts())
    except (OSError, ProtocolBroken) as error:
        raise StorageRefused(f"It is not known which file system holds {path}: {error}") from error
    if mount.kind in _MEMORY:
        raise StorageRefused(f"{path} is kept in memory ({mount.kind}) and gone after a restart.")
    if mount.is_pseudo and mount.kind != "overlay":
        raise StorageRefused(f"{path} is no place for files: it is a {mount.kind}.")
    if mount.is_read_only:
        raise StorageRefused(f"{mount.point} is mounted read-only.")


def _refuse_shared(directory: Path) -> None:
    try:
        facts = directory.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageRefused(f"{directory} cannot be looked at: {error.strerror}.") from error
    is_sticky = bool(facts.st_mode & stat.S_ISVTX)
    if facts.st_uid not in (0, os.geteuid()):
        raise StorageRefused(f"{directory} belongs to another user, who could replace what is in it.")
    if facts.st_mode & _MEANT_FOR_ALL and not is_sticky:
        raise StorageRefused(
            f"Other users may write to {directory}. Take that right away: chmod go-w {directory}"
        )
