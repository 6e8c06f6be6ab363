"""SQLite files under writers: each copy and each snapshot is opened, checked, and its rows counted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agents.backup import BackupOutcome
from agents.errors import AgentError, PlanRefused, ResticFailed, SourceMissing
from agents.events import Consistency
from agents.plan import SourceRequest
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.sqlite_file import (
    OWNER,
    Writer,
    connect,
    find_faults,
    make_database,
    request_for,
    writers,
)

ROUNDS = 50 if os.environ.get("HOTFLEET_CAMPAIGN") == "full" else 2


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


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
    assert {file.stat().st_uid for file in path.parent.iterdir()} <= {OWNER, 0}
    longest_ms = max(each.longest_s for each in busy) * 1000
    print(f"\nSQLite {journal}, {method}: the longest transaction of a writer {longest_ms:.0f} ms")


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
        # far enough that the write-ahead log (1,000 pages, 8 a change) was written back into the file
        enough = 250 if path.with_name(f"{path.name}-wal").exists() else 50
        wait_until(lambda: busy[0].count > count + enough, timeout_s=120, what="many changes")
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
