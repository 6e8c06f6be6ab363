"""A PostgreSQL cluster on several file systems, its low-level copies, and what stops one in its middle."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.backup import BackupOutcome
from agents.plan import SourceRequest
from agents.storing import Point
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.killer import Killer
from tests.live.pgbench import prepare
from tests.live.postgresql import Cluster, as_postgres, own

LOCATION = "select pg_tablespace_location(oid) from pg_tablespace where spcname = 'fast'"
END = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'hotfleet'"

BIG = "select repeat(md5(n::text), 40) t from generate_series(1, 20000) n"


@contextmanager
def spread_cluster(machine: Device) -> Iterator[tuple[Cluster, Path]]:
    """A server with its WAL and a tablespace on another file system than its data, and that one's folder."""
    machine.directory.chmod(0o755)
    machine.btrfs.chmod(0o755)
    # it has no snapshots
    elsewhere = machine.make_file_system("ext4", size_mb=512)
    elsewhere.chmod(0o755)
    wal = own(elsewhere / "wal")
    with Cluster(machine.btrfs / "da ta").create("--waldir", str(wal)) as cluster:
        cluster.sql(f"create tablespace fast location '{own(elsewhere / 'fa st')}'")
        prepare(cluster)
        cluster.sql("alter table pgbench_accounts set tablespace fast")
        cluster.sql("alter index pgbench_tellers_pkey set tablespace fast")
        yield cluster, elsewhere


@pytest.fixture(scope="module")
def machine(live_ground: None) -> Iterator[Device]:
    """One device for all tests of a file."""
    with Device() as device:
        yield device


@pytest.fixture(scope="module")
def spread(machine: Device) -> Iterator[tuple[Cluster, Path]]:
    with spread_cluster(machine) as made:
        yield made


@pytest.fixture
def elsewhere(spread: tuple[Cluster, Path]) -> Path:
    return spread[1]


def back_up(console: Console, cluster: Cluster, method: str = "copy") -> BackupOutcome:
    return console.back_up(SourceRequest(application="postgresql", instance=str(cluster.data), method=method))


def only(outcome: BackupOutcome) -> Point:
    (point,) = outcome.points
    return point


def fetch(console: Console, point: Point, place: Path) -> Path:
    folder = place / f"stream-{point.restic_id[:8]}"
    assert console.restore(point.restic_id, "/", folder).is_complete
    own(folder)
    shutil.chown(folder / "cluster.tar", "postgres")
    return folder / "cluster.tar"


def put_together(console: Console, point: Point, place: Path) -> Path:
    """The steps of docs/operate.md; return the data directory."""
    archive = fetch(console, point, place)
    restored = own(place / f"restored-{point.restic_id[:8]}")
    as_postgres("tar", "-x", "-p", "-f", archive, "-C", restored)
    return restored / "data"


def assert_nothing_is_kept(cluster: Cluster) -> None:
    """No slot, no session, and so no backup mode: it belongs to a session."""
    left = (
        "select (select count(*) from pg_replication_slots) + "
        "(select count(*) from pg_stat_activity where application_name = 'hotfleet')"
    )
    wait_until(lambda: cluster.sql(left) == "0", what="the end of the session")


def assert_no_point(console: Console, cluster: Cluster) -> None:
    assert console.count_restore_points() == 0
    assert_nothing_is_kept(cluster)
    assert_device_is_clean(console)


@contextmanager
def paused(machine: Device, what: Callable[[], object]) -> Iterator[Killer]:
    """Do something while the copy of the files stands still in its middle. Raise what it raised."""
    raised: list[BaseException] = []

    def strike(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            what()
        except BaseException as error:
            raised.append(error)
        finally:
            os.kill(pid, signal.SIGCONT)

    with Killer(machine, "", by="tar", strike=strike) as killer:
        yield killer
    assert killer.killed, "nothing was copied"
    if raised:
        raise raised[0]


def overtake(cluster: Cluster) -> None:
    """Write until the server needs none of the WAL of a copy's beginning any more."""
    for _ in range(3):
        cluster.sql(f"create table wal as {BIG}")
        cluster.sql("drop table wal")
        cluster.sql("select pg_switch_wal()")
        cluster.sql("checkpoint")


@contextmanager
def stopped_in_the_wal(
    machine: Device, cluster: Cluster, strike: Callable[[int, Path], object]
) -> Iterator[None]:
    """Do something with the second tar while it stands still, and with the first file of the WAL that it
    has open. The copy lasts until there is much WAL, so that it is surely met."""
    over, caught = threading.Event(), threading.Event()
    wal = (cluster.data / "pg_wal").resolve()

    def watch() -> None:
        while not over.is_set() and not caught.is_set():
            for pid, file in _readers_of(machine, wal):
                os.kill(pid, signal.SIGSTOP)
                caught.set()
                strike(pid, file)
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        with paused(machine, lambda: overtake(cluster)):
            yield
    finally:
        over.set()
        thread.join()
    assert caught.is_set(), "nobody read the WAL"


def _readers_of(machine: Device, wal: Path) -> Iterator[tuple[int, Path]]:
    for pid in machine.pids():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text() == "tar\n":
                files = [file.readlink() for file in Path(f"/proc/{pid}/fd").iterdir()]
                yield from ((pid, file) for file in files if file.parent == wal)
