"""PostgreSQL's log is streamed into the console, and the cluster comes back to a moment.

About 12 seconds on two cores; the whole campaign some minutes."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agents.comeback import Way
from agents.wal import base_for
from agents.wal.stream import drop_slot
from tests.live.daemons import bring_back
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, open_to_all, wait_until
from tests.live.postgresql import Service, as_postgres, destroy
from tests.live.wal import (
    Log,
    back_up,
    bring_back_to,
    ledger,
    logging_cluster,
    numbers,
    server_time,
    streaming,
)


@pytest.fixture(scope="module")
def machine(live_ground: None) -> Iterator[Device]:
    with open_to_all() as device:
        yield device


@pytest.fixture
def console(machine: Device, tmp_path: Path) -> Console:
    return Console(machine, tmp_path)


@pytest.fixture
def cluster(machine: Device, console: Console, tmp_path: Path) -> Iterator[Service]:
    with logging_cluster(console, machine.btrfs / f"da ta {console.id}", tmp_path / "state") as cluster:
        yield cluster


@pytest.fixture
def log(console: Console, cluster: Service, tmp_path: Path) -> Log:
    return Log(console, cluster, tmp_path / "spool")


@pytest.mark.parametrize(
    "method",
    [
        "snapshot",
        pytest.param("stream", marks=pytest.mark.full),
        pytest.param("copy", marks=pytest.mark.full),
    ],
)
def test_what_was_dropped_comes_back_as_it_was_just_before(log: Log, cluster: Service, method: str) -> None:
    """Between two backups; part of the log is in a batch, part of it in the spool."""
    with streaming(log) as running:
        cluster.sql("create table t as select 1 n")
        running.catch_up()
        made = back_up(log, method)
        cluster.sql("insert into t values (2)")
        cluster.sql("create table filler as select generate_series(1, 300000) n")
        running.catch_up()
        assert log.store() == 1
        cluster.sql("insert into t values (3)")
        moment = server_time(cluster)
        cluster.sql("drop table t")
        cluster.sql("create table younger as select 1 n")
        running.catch_up()
    own = [sentence for sentence in log.console.sentences if f"hotfleet-{log.console.id}wal" in sentence]
    assert own == [], "the backup knows the stream beside it"
    (window,) = log.windows(made[2])
    assert window.since <= moment <= window.until
    assert base_for(moment, [window], log.pieces) == made[2]
    destroy(cluster)
    back = bring_back_to(log, made, moment)
    assert back.tail is not None, "the newest log was in the spool only"
    assert cluster.sql("select n from t order by n") == "1\n2\n3"
    assert cluster.sql("select to_regclass('younger') is null and not pg_is_in_recovery()") == "t"
    cluster.sql("insert into t values (4)")
    assert not [each.name for each in cluster.data.iterdir() if "hotfleet" in each.name]
    assert cluster.sql("select count(*) from pg_replication_slots") == "0", "ours of then is not kept"
    cluster.stop()
    assert_device_is_clean(log.console)


@pytest.mark.full
def test_what_was_acknowledged_when_the_log_was_seen_last_is_there(log: Log, cluster: Service) -> None:
    """A writer keeps a ledger outside of the database until its data is destroyed under it."""
    with streaming(log) as running:
        running.catch_up()
        made = back_up(log, "snapshot")
        with ledger(cluster) as writer:
            wait_until(lambda: len(writer.acknowledged) > 300, timeout_s=120, what="some transactions")
            wait_until(lambda: log.windows(made[2]) != (), what="a window")
            destroy(cluster)
        running.end_by_itself()
    (window,) = log.windows(made[2])
    bring_back_to(log, made, None)
    found = numbers(cluster)
    assert found == list(range(1, len(found) + 1)), "a hole"
    safe = [number for when, number in writer.acknowledged if when <= window.until]
    assert safe and found[-1] >= safe[-1], "the window promised it"
    lost = [when for when, number in writer.acknowledged if number > found[-1]]
    age = (writer.acknowledged[-1][0] - lost[0]) if lost else timedelta()
    print(f"lost {len(lost)} transactions of the last {age.total_seconds():.1f} s")


@pytest.mark.full
def test_a_moment_after_the_last_transaction_is_reached(log: Log, cluster: Service) -> None:
    """PostgreSQL calls that a failure: no commit is later than the target."""
    with streaming(log) as running:
        running.catch_up()
        made = back_up(log, "snapshot")
        cluster.sql("create table t as select 1 n")
        running.catch_up()
        moment = server_time(cluster)
        wait_until(lambda: log.windows(made[2])[0].until > moment, timeout_s=60, what="a later tick")
    bring_back_to(log, made, moment)
    assert cluster.sql("select n from t") == "1"
    assert any("replayed to" in sentence for sentence in log.console.sentences)


@pytest.mark.full
def test_the_slot_leaves_the_device_with_the_stream(log: Log, cluster: Service) -> None:
    slots = "select count(*) from pg_replication_slots where slot_name = '{}'"
    with streaming(log) as running:
        running.catch_up()
        assert cluster.sql(slots.format(log.slot)) == "1"
    assert cluster.sql(slots.format(log.slot)) == "1", "it keeps the log while nobody streams"
    assert drop_slot(log.request(), log.console.open_session, tell=running.told.append)
    assert cluster.sql(slots.format(log.slot)) == "0"
    assert not drop_slot(log.request(), log.console.open_session, tell=running.told.append)
    cluster.stop()
    assert_device_is_clean(log.console)


@pytest.mark.full
def test_a_moment_comes_to_run_beside_the_present_one(log: Log, cluster: Service) -> None:
    with streaming(log) as running:
        cluster.sql("create table t as select 1 n")
        running.catch_up()
        stored, known, base = back_up(log, "snapshot")
        cluster.sql("insert into t values (2)")
        moment = server_time(cluster)
        cluster.sql("drop table t")
        running.catch_up()
    console, server = log.console, cluster.pid
    folder = Path("/var/lib") / f"hotfleet-beside-{console.id}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    beside = {"way": Way.BESIDE, "folder": str(folder), "port": port}
    back = bring_back(console, stored, known, replay=log.replay(moment, base), **beside)
    try:
        query = ["psql", "-X", "-A", "-t", "-h", str(folder / "socket"), "-p", str(port), "-d", "postgres"]
        assert as_postgres(*query, "-c", "select count(*) from t").stdout.strip() == "2"
        assert cluster.pid == server and cluster.sql("select to_regclass('t') is null") == "t"
    finally:
        subprocess.run(["/bin/sh", "-c", back.stop_line], check=True, capture_output=True)
    cluster.stop()
    assert_device_is_clean(console)
