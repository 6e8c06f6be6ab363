"""Databases of SQLite of the tests; and writers that leave an invariant."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from agents.plan import SourceRequest
from tests.live.ground import Device, command, wait_until

OWNER = 65534  # nobody: what is done for the file's owner is not done as root
_ACCOUNTS = 2000


def make_database(device: Device, journal: str) -> Path:
    """A database of some MB that nobody owns, beside a file that is nobody's business."""
    folder = device.btrfs / "app da'ta"
    command("btrfs", "subvolume", "create", folder)
    path = folder / "app.db"
    with closing(connect(path)) as database:
        database.execute(f"pragma journal_mode={journal}")
        database.execute("create table account (id integer primary key, balance int, filler blob)")
        database.execute("create table entry (writer int, n int, primary key (writer, n))")
        rows = [(number, 100, os.urandom(2000)) for number in range(_ACCOUNTS)]
        database.execute("begin")
        database.executemany("insert into account values (?, ?, ?)", rows)
        database.execute("commit")
    (folder / "other").write_text("not asked for")
    command("chown", "-R", f"{OWNER}:{OWNER}", folder)
    return path


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=20, check_same_thread=False)


def write_as_owner(path: Path, statement: str) -> None:
    """Raise AssertionError when whoever owns the database cannot do this."""
    words = ("setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups", "--")
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute(sys.argv[2])"
    command(*words, "/usr/bin/python3", "-c", program, path, statement)


class Writer:
    """Moves money between accounts and writes that down, in one transaction each."""

    def __init__(self, path: Path, number: int) -> None:
        self.number, self.count, self.longest_s, self.trouble = number, 0, 0.0, ""
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _work(self) -> None:
        chance = random.Random(self.number)
        with closing(connect(self._path)) as database:
            while not self._stop.wait(0.002):
                began = time.monotonic()
                try:
                    self._move(database, chance)
                except sqlite3.Error as error:
                    self.trouble = str(error)
                    return
                self.count += 1
                self.longest_s = max(self.longest_s, time.monotonic() - began)

    def _move(self, database: sqlite3.Connection, chance: random.Random) -> None:
        database.execute("begin immediate")
        for amount in (-1, 1):
            database.execute(
                "update account set balance = balance + ?, filler = ? where id = ?",
                (amount, os.urandom(2000), chance.randrange(_ACCOUNTS)),
            )
        database.execute("insert into entry values (?, ?)", (self.number, self.count + 1))
        database.execute("commit")


@contextmanager
def writers(path: Path) -> Iterator[list[Writer]]:
    """Two writers that met no error."""
    with ExitStack() as stack:
        busy = [stack.enter_context(Writer(path, number)) for number in range(2)]
        wait_until(
            lambda: all(each.count > 10 or each.trouble for each in busy),
            timeout_s=120,
            what="the first rows",
        )
        yield busy
    assert [each.trouble for each in busy] == ["", ""]


def find_faults(path: Path, least: dict[int, int]) -> list[str]:
    """Given a restored file, return what is wrong with it. What `least` each writer had written is there."""
    faults = []
    try:
        with closing(connect(path)) as database:
            checked = [row[0] for row in database.execute("pragma integrity_check(5)")]
            if checked != ["ok"]:
                faults.append("; ".join(checked))
            total, accounts = database.execute("select sum(balance), count(*) from account").fetchone()
            if (total, accounts) != (_ACCOUNTS * 100, _ACCOUNTS):
                faults.append(f"{accounts} accounts hold {total}")
            for writer, written in least.items():
                query = "select count(*), coalesce(max(n), 0) from entry where writer = ?"
                count, highest = database.execute(query, (writer,)).fetchone()
                if count != highest or count < written:
                    faults.append(
                        f"writer {writer}: {count} rows up to {highest}, {written} were there before"
                    )
    except sqlite3.DatabaseError as error:
        faults.append(str(error))
    return faults


def request_for(path: Path, method: str = "") -> SourceRequest:
    return SourceRequest(application="sqlite", instance=str(path), method=method)
