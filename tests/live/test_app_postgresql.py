"""PostgreSQL, hot, under load: every copy is restored, started, and counted."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import served
from agents.applications import postgresql_ways, work
from agents.applications.postgresql_ways import make_connection, make_file_name
from agents.backup import BackupOutcome
from agents.errors import ResticFailed
from agents.events import Consistency, Felt, Froze
from agents.plan import SourceRequest
from agents.storing import Point
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.killer import Killer, written_by
from tests.live.pgbench import assert_whole, count_writes, load, prepare
from tests.live.postgresql import Cluster, as_postgres, own

IS_FULL = os.environ.get("HOTFLEET_CAMPAIGN") == "full"
BACKUPS = 50 if IS_FULL else 2


@pytest.fixture(scope="module")
def machine(live_ground: None) -> Iterator[Device]:
    with Device() as device:
        device.directory.chmod(0o755)
        yield device


@pytest.fixture(scope="module")
def cluster(machine: Device) -> Iterator[Cluster]:
    """A server whose files are one subvolume."""
    machine.btrfs.chmod(0o755)
    with Cluster(machine.btrfs / "da ta").create() as cluster:
        prepare(cluster)
        yield cluster


@pytest.fixture
def console(machine: Device, tmp_path: Path) -> Console:
    return Console(machine, tmp_path)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that postgres may enter, for what is restored."""
    folder = Path(tempfile.mkdtemp(prefix="hotfleet-restored-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def source(cluster: Cluster, method: str = "", **wishes: Any) -> SourceRequest:
    return SourceRequest(application="postgresql", instance=str(cluster.data), method=method, **wishes)


def only(outcome: BackupOutcome) -> Point:
    (point,) = outcome.points
    return point


def restore_files(console: Console, point: Point, cluster: Cluster, place: Path) -> Path:
    target = place / f"data-{point.restic_id[:8]}"
    assert console.restore(point.restic_id, cluster.data, target).is_complete
    return own(target)


def extract(console: Console, point: Point, place: Path) -> Path:
    assert console.restore(point.restic_id, "/", place / "stream").is_complete
    data, folder = own(place / "data"), own(place / "stream")
    shutil.chown(folder / "base.tar", "postgres")
    as_postgres("tar", "-x", "-C", data, "-f", folder / "base.tar")
    as_postgres(Cluster.binaries / "pg_verifybackup", "-n", data)
    return data


def test_hot_snapshots_in_a_row_each_start_whole_and_no_writer_notices(
    console: Console, cluster: Cluster, place: Path
) -> None:
    seen = 0
    with load(cluster):
        for _ in range(BACKUPS):
            point = only(console.back_up(source(cluster)))
            assert (point.consistency, point.method) == (Consistency.APPLICATION, "snapshot+btrfs")
            target = restore_files(console, point, cluster, place)
            assert not (target / "postmaster.pid").exists()
            with Cluster.of_copy(target) as restored:
                writes = assert_whole(restored)
            assert seen < writes <= count_writes(cluster)
            seen = writes
            shutil.rmtree(target)
    frozen = sorted(event.milliseconds for event in console.events if isinstance(event, Froze))
    assert len(frozen) == BACKUPS
    print(
        f"\nfreeze of {BACKUPS} snapshots: median {frozen[len(frozen) // 2]:.1f} ms, most {frozen[-1]:.1f} ms"
    )
    assert_device_is_clean(console)


def test_what_the_server_did_meanwhile_is_told_beside_what_it_usually_does(
    console: Console, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "LEAST_S", 0.0)
    monkeypatch.setattr(work, "LEAST_S", 0.1)
    with load(cluster):
        earlier = console.back_up(source(cluster)).facts.instances
        assert {felt.before for felt in told_by(console)} == {None}
        time.sleep(3)  # the server tells its counts once a second
        console.events.clear()
        console.back_up(source(cluster), seen=earlier)
    told = {felt.name: felt for felt in told_by(console)}
    assert set(told) >= {work.TRANSACTIONS_S}
    rate = told[work.TRANSACTIONS_S]
    assert rate.before is not None and rate.before > 0
    assert rate.subject.startswith("PostgreSQL ")


def told_by(console: Console) -> list[Felt]:
    return [event for event in console.events if isinstance(event, Felt) and event.subject]


def test_a_stream_of_the_whole_cluster_starts_whole(console: Console, cluster: Cluster, place: Path) -> None:
    with load(cluster):
        point = only(console.back_up(source(cluster, "stream")))
    assert point.consistency is Consistency.APPLICATION
    with Cluster.of_copy(extract(console, point, place)) as restored:
        assert 0 < assert_whole(restored) <= count_writes(cluster)
    assert cluster.sql("select count(*) from pg_replication_slots") == "0"
    assert_device_is_clean(console)


HOSTILE = ("a b", "-d", "x'y\"z", "new\nline", "$(touch /tmp/hotfleet-was-here)", "dbname=postgres", "dé.x")


def test_dumps_of_hostile_names_restore_into_a_new_cluster(
    console: Console, machine: Device, cluster: Cluster, place: Path
) -> None:
    quoted = {name: '"{}"'.format(name.replace('"', '""')) for name in HOSTILE}
    for number, (name, word) in enumerate(quoted.items()):
        cluster.sql(f"create database {word}")
        cluster.sql(f"create table t as select {number} n", database=make_connection(name))
    try:
        with load(cluster):
            outcome = console.back_up(source(cluster, "dump"))
        parts = {point.part: point for point in outcome.points}
        assert len(parts) == len(HOSTILE) + 2
        assert {point.consistency for point in outcome.points} == {Consistency.APPLICATION}
        with Cluster(own(place / "new")).create() as restored:
            for part, point in parts.items():
                assert console.restore(point.restic_id, "/", place / part).is_complete
                shutil.chown(own(place / part) / part, "postgres")
            restored.run("psql", "-X", "-q", "-d", "postgres", "-f", place / "globals.sql" / "globals.sql")
            for name, word in quoted.items():
                restored.sql(f"create database {word}")
                part = f"{make_file_name(name)}.dump"
                restored.run("pg_restore", "-e", "-d", make_connection(name), place / part / part)
            numbers = [restored.sql("select n from t", database=make_connection(name)) for name in HOSTILE]
            assert numbers == [str(number) for number in range(len(HOSTILE))]
            part = "postgres.dump"
            restored.run("pg_restore", "-e", "-d", "postgres", place / part / part)
            assert 0 < assert_whole(restored) <= count_writes(cluster)
    finally:
        for word in quoted.values():
            cluster.sql(f"drop database {word}")
    assert not Path("/tmp/hotfleet-was-here").exists()
    assert_device_is_clean(console)


def test_a_table_that_somebody_holds_fails_the_dump_in_time(
    console: Console, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_ways, "LOCK_WAIT_S", 1)
    holder = cluster.popen("psql", "-X", "postgres")
    try:
        assert holder.stdin is not None
        holder.stdin.write("begin; lock table pgbench_tellers in access exclusive mode;\n")
        holder.stdin.flush()
        held = "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted"
        wait_until(lambda: cluster.sql(held) != "0", what="the lock")
        with pytest.raises(ResticFailed) as failed:
            console.back_up(source(cluster, "dump"))
        assert "LOCK TABLE" in failed.value.detail
    finally:
        holder.kill()
        holder.wait(60)
    assert console.count_restore_points() <= 1  # the roles were stored before, and no catalogue knows them
    assert_device_is_clean(console)


@pytest.mark.parametrize(
    ("method", "victim"),
    [("stream", "pg_basebackup"), ("stream", "psql"), ("stream", "walsender"), ("dump", "pg_dump")],
)
def test_a_stream_that_is_killed_half_way_is_no_restore_point(
    console: Console, machine: Device, cluster: Cluster, method: str, victim: str
) -> None:
    cluster.sql("create table filler as select repeat(md5(n::text), 40) t from generate_series(1, 40000) n")
    by = "pg_dump" if method == "dump" else "pg_basebackup"
    end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where backend_type = 'walsender'"
    strike = (lambda pid: cluster.sql(end)) if victim == "walsender" else None
    killer = Killer(machine, victim, by=by, strike=strike)
    try:
        with killer, pytest.raises(ResticFailed):
            console.back_up(source(cluster, method))
    finally:
        cluster.sql("drop table filler")
    assert killer.killed
    assert console.count_restore_points() <= (1 if method == "dump" else 0)
    wait_until(lambda: cluster.sql("select count(*) from pg_replication_slots") == "0", what="no slot")
    assert_device_is_clean(console)


def overtake(cluster: Cluster, pid: int) -> None:
    """Hold a copy up until the server needs none of the WAL of its beginning any more."""
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            cluster.sql(
                "create table wal as select repeat(md5(n::text), 40) t from generate_series(1, 40000) n"
            )
            cluster.sql("drop table wal")
            cluster.sql("select pg_switch_wal()")
            cluster.sql("checkpoint")
    finally:
        os.kill(pid, signal.SIGCONT)


def test_the_wal_that_a_stream_needs_is_kept_however_slow_it_is(
    console: Console, machine: Device, cluster: Cluster, place: Path
) -> None:
    killer = Killer(machine, "", by="pg_basebackup", strike=lambda pid: overtake(cluster, pid))
    with killer:
        point = only(console.back_up(source(cluster, "stream")))
    assert killer.killed
    with Cluster.of_copy(extract(console, point, place)) as restored:
        assert_whole(restored)


def test_without_a_slot_the_same_stream_fails(cluster: Cluster, tmp_path: Path) -> None:
    """The negative control of the test above: the WAL is really gone."""
    with (tmp_path / "base.tar").open("w") as file:
        words = ("-D", "-", "-F", "tar", "-X", "fetch", "-c", "fast")
        copy = cluster.popen("pg_basebackup", *words, output=file)
        wait_until(lambda: written_by(copy.pid) > 1 << 20, what="the first megabyte")
        overtake(cluster, copy.pid)
        assert copy.wait(60) != 0
    assert "WAL" in cluster.log.rpartition("ERROR")[2]


def test_a_checkpoint_that_does_not_end_only_leaves_a_note(
    console: Console, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, place: Path
) -> None:
    monkeypatch.setattr(postgresql_ways, "CHECKPOINT_S", 2)
    checkpointer = int(cluster.sql("select pid from pg_stat_activity where backend_type = 'checkpointer'"))
    os.kill(checkpointer, signal.SIGSTOP)
    try:
        point = only(console.back_up(source(cluster)))
    finally:
        os.kill(checkpointer, signal.SIGCONT)
    assert any("checkpoint before the snapshot failed" in said for said in console.sentences)
    with Cluster.of_copy(restore_files(console, point, cluster, place)) as restored:
        assert_whole(restored)


def test_a_standby_is_backed_up_like_its_primary(
    console: Console, machine: Device, cluster: Cluster, place: Path
) -> None:
    data = own(machine.btrfs / "standby")
    cluster.run("pg_basebackup", "-D", data, "-R", "-c", "fast")
    with Cluster(data) as standby:
        with load(cluster):
            wait_until(lambda: count_writes(standby) > 0, what="the first write on the standby")
            point = only(console.back_up(source(standby)))
        copy = restore_files(console, point, standby, place)
        (copy / "standby.signal").unlink()
        with Cluster.of_copy(copy) as restored:
            assert_whole(restored)
    assert any("standby.signal" in said for said in console.sentences)
    shutil.rmtree(data)
