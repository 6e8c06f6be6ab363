"""The file of one device's index: where it lies, its tables, who may write, what happens when it breaks."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from django.conf import settings

from backupsite.fleet.models import Device

log = logging.getLogger(__name__)

LAYOUT = 1
# The last state of a version that the newest state still has. Three bytes in each row.
OPEN = 2**23 - 1
# Kinds as they lie in a row: the commonest takes no byte.
KINDS = ("file", "dir", "symlink", "dev", "chardev", "fifo", "socket", "irregular")
FOLDER = KINDS.index("dir")

# Texts are the bytes of the device: SQLite compares and searches them as they are.
_TABLES = """
CREATE TABLE series (id INTEGER PRIMARY KEY, source TEXT NOT NULL, part TEXT NOT NULL, UNIQUE (source, part));
CREATE TABLE state (
    series INTEGER NOT NULL, ordinal INTEGER NOT NULL, restic_id TEXT NOT NULL, tree TEXT NOT NULL,
    entries INTEGER NOT NULL, skipped INTEGER NOT NULL, PRIMARY KEY (series, ordinal)
) WITHOUT ROWID;
CREATE TABLE point (
    id TEXT PRIMARY KEY, series INTEGER NOT NULL, ordinal INTEGER, made_at REAL NOT NULL,
    fault TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX point_of ON point (series, ordinal);
CREATE TABLE folder (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);
CREATE TABLE entry (
    folder INTEGER NOT NULL, name TEXT NOT NULL, series INTEGER NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, kind INTEGER NOT NULL, size INTEGER NOT NULL, modified_ms INTEGER,
    PRIMARY KEY (folder, name, series, first)
) WITHOUT ROWID;
"""


class Busy(Exception):
    """Another process writes this index."""


def home() -> Path:
    """Return the directory of all indexes, made when it is missing."""
    path = Path(settings.HOTFLEET_HOME) / "index"
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def file_of(device: Device) -> Path:
    """Given a device, return the file of its index, which need not exist."""
    return home() / f"{device.uuid.hex}.sqlite"


def list_devices() -> set[uuid.UUID]:
    """Return the devices that have a file here."""
    return {uuid.UUID(hex=path.stem) for path in home().glob("?" * 32 + ".sqlite")}


def remove(path: Path) -> None:
    """Remove an index. Whoever reads it reads on; whoever writes it writes into nothing."""
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


@contextmanager
def writing(device: Device) -> Iterator[None]:
    """Be the only one who writes this device's index until the context ends, however the process ends.

    Raise Busy when somebody else does."""
    with open(home() / f"{device.uuid.hex}.lock", "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        yield


@contextmanager
def open_for_writing(device: Device) -> Iterator[sqlite3.Connection]:
    """Open the index in `writing`, made new when it is missing. No transaction is open. A process that is
    killed leaves what was there before its transaction.

    Raise sqlite3.DatabaseError when it is broken or of another layout: it must be removed then."""
    path = file_of(device)
    with closing(_connect(path)) as connection:
        layout = _layout(connection)
        if layout not in (0, LAYOUT):
            raise sqlite3.DatabaseError(f"the layout is {layout} and not {LAYOUT}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -32000")
        if layout == 0:
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {LAYOUT}; COMMIT;")
            path.chmod(0o600)
        yield connection


@contextmanager
def open_for_reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open an index as it is now until the context ends; None when there is none that can be read.

    When it turns out to be broken it is removed, so that it is made again, and `Broken` is raised."""
    connection = _open_readable(path)
    if connection is None:
        yield None
        return
    with closing(connection):
        try:
            yield connection
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            drop_broken(path, error)
            raise Broken from error


class Broken(Exception):
    """The index turned out to be broken while it was read."""


def drop_broken(path: Path, error: Exception) -> None:
    """Remove an index that cannot be read."""
    log.warning("An index is broken and is made again: %s: %s", path.name, error)
    remove(path)


def _open_readable(path: Path) -> sqlite3.Connection | None:
    if not path.exists():
        return None
    connection = _connect(path)
    try:
        if _layout(connection) == LAYOUT:
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            return connection
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.OperationalError):
            drop_broken(path, error)
    connection.close()
    return None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=20, isolation_level=None)
    connection.text_factory = bytes
    return connection


def _layout(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check(connection: sqlite3.Connection) -> None:
    """Read through the structure of an index. Raise sqlite3.DatabaseError when it is not sound."""
    [answer] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != b"ok":
        raise sqlite3.DatabaseError(answer.decode(errors="replace"))
