"""SQLite files under writers: each copy and each snapshot is opened, checked, and its rows counted."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from agents.backup import BackupOutcome
from agents.errors import AgentError, PlanRefused, ResticFailed, SourceMissing
from agents.events import Consistency
from agents.plan import SourceRequest
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, command, wait_until

ROUNDS = 50 if os.environ.get("HOTFLEET_CAMPAIGN") == "full" else 2
_OWNER = 65534  # nobody: what is done for the file's owner is not done as root
_ACCOUNTS = 2000


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


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
    command("chown", "-R", f"{_OWNER}:{_OWNER}", folder)
    return path


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=20, check_same_thread=False)


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
        wait_until(lambda: all(each.count > 10 or each.trouble for each in busy), what="the first rows")
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


@contextmanager
def restored(console: Console, outcome: BackupOutcome) -> Iterator[Path]:
    """The restored database."""
    target = Path("/var/lib") / f"hotfleet-restored-{console.id}"
    try:
        (point,) = outcome.points
        console.restore(point.restic_id, "/", target)
        assert not list(target.rglob("other"))
        yield next(target.rglob("app.db"))
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)


@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize(
    ("method", "consistency"), [("stream", Consistency.APPLICATION), ("snapshot", Consistency.CRASH)]
)
def test_each_backup_under_writers_restores_to_a_file_that_fits(
    console: Console, journal: str, method: str, consistency: Consistency
) -> None:
    path = make_database(console.device, journal)
    with writers(path) as busy:
        for _ in range(ROUNDS):
            least = {each.number: each.count for each in busy}
            outcome = console.back_up(request_for(path, method))
            assert outcome.points[0].consistency is consistency
            with restored(console, outcome) as copy:
                assert find_faults(copy, least) == []
    assert_device_is_clean(console)
    assert {file.stat().st_uid for file in path.parent.iterdir()} <= {_OWNER, 0}
    longest_ms = max(each.longest_s for each in busy) * 1000
    print(f"\nSQLite {journal}, {method}: the longest transaction of a writer {longest_ms:.0f} ms")


def request_for(path: Path, method: str = "") -> SourceRequest:
    return SourceRequest(application="sqlite", instance=str(path), method=method)


def test_the_best_method_is_chosen_by_the_journal(console: Console) -> None:
    path = make_database(console.device, "wal")
    assert console.back_up(request_for(path)).points[0].method == "stream"
    with closing(connect(path)) as database:
        database.execute("pragma journal_mode=delete")
    assert console.back_up(request_for(path)).points[0].method == "snapshot+btrfs"


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_copy_under_writers_is_torn(console: Console, journal: str, tmp_path: Path) -> None:
    """The control: cp reads one half, and the other half when the writers are far ahead."""
    path = make_database(console.device, journal)
    with writers(path) as busy:
        assert any(is_torn(path, tmp_path / f"{number}.db", busy) for number in range(10))


def is_torn(path: Path, copy: Path, busy: list[Writer]) -> bool:
    """Once in a while both halves fit by chance."""
    copy_slowly(path, copy, busy)
    return find_faults(copy, {each.number: 0 for each in busy}) != []


def copy_slowly(path: Path, copy: Path, busy: list[Writer]) -> None:
    with path.open("rb") as source, copy.open("wb") as target:
        target.write(source.read(path.stat().st_size // 2))
        count = busy[0].count
        # far enough that the write-ahead log was written back into the file
        wait_until(lambda: busy[0].count > count + 600, timeout_s=60, what="many changes")
        target.write(source.read())


def test_a_damaged_file_never_becomes_a_restore_point(console: Console) -> None:
    path = make_database(console.device, "delete")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(100_000))
    with pytest.raises(ResticFailed) as caught:
        console.back_up(request_for(path, "stream"))
    assert "whole" in caught.value.detail or "malformed" in caught.value.detail
    assert console.count_restore_points() == 0
    assert_device_is_clean(console)


@pytest.mark.parametrize(
    ("name", "error"), [("nothing.db", SourceMissing), ("other", SourceMissing), ("../app", PlanRefused)]
)
def test_what_is_no_database_is_missing(console: Console, name: str, error: type[AgentError]) -> None:
    path = make_database(console.device, "wal")
    instance = name if name.startswith(".") else str(path.parent / name)
    with pytest.raises(error):
        console.back_up(SourceRequest(application="sqlite", instance=instance))
    assert console.count_restore_points() == 0
