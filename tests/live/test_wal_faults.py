"""What goes wrong with a streamed log is told, and never taken for a log that is whole.

About 4 minutes on two cores, all of it in the whole campaign only: tests/live/test_wal.py runs by default."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from agents.errors import Cancelled, CommandFailed, PlanRefused, RepositoryFull
from agents.wal.stream import stream
from tests.live.daemons import bring_back
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, open_to_all, wait_until
from tests.live.postgresql import Service, destroy
from tests.live.traces import find_traces
from tests.live.wal import (
    KEEP_MB,
    Log,
    Stopper,
    back_up,
    bring_back_to,
    ledger,
    logging_cluster,
    numbers,
    server_time,
    streaming,
)
from tests.live.workers import Worker

_MIB = 1024 * 1024


@pytest.fixture(scope="module")
def machine(live_ground: None) -> Iterator[Device]:
    with open_to_all() as device:
        yield device


@pytest.fixture
def console(machine: Device, tmp_path: Path) -> Console:
    return Console(machine, tmp_path)


@pytest.fixture
def cluster(machine: Device, console: Console, tmp_path: Path) -> Iterator[Service]:
    with logging_cluster(console, machine.btrfs / f"data{console.id}", tmp_path / "state") as cluster:
        yield cluster


@pytest.fixture
def log(console: Console, cluster: Service, tmp_path: Path) -> Log:
    return Log(console, cluster, tmp_path / "spool")


def write_log(cluster: Service, megabytes: int) -> None:
    """Make the server write so much log."""
    cluster.sql("create table if not exists filler (n int, text text)")
    for _ in range(megabytes // 16 + 1):
        cluster.sql("insert into filler values (1, 'x'); select pg_switch_wal()")


@pytest.mark.full
def test_a_log_that_is_damaged_replaces_nothing(log: Log, cluster: Service) -> None:
    with streaming(log) as running:
        running.catch_up()
        made = back_up(log, "snapshot")
        cluster.sql("create table t as select generate_series(1, 200000) n")
        running.catch_up()
        moment = server_time(cluster)
        cluster.sql("create table younger as select 1 n")
        running.catch_up()
    stretch = log.pieces[0].stretch
    damaged = sorted(each for each in (log.spool / stretch).iterdir() if len(each.name) == 24)[-1]
    content = bytearray(damaged.read_bytes())
    # in the middle of what came after the base, behind the headers of its pages
    for offset in range(2 * 8192 + 4096, len(content) - 8192, 8192):
        content[offset] ^= 0xFF
    damaged.write_bytes(content)
    server = cluster.pid
    for until in (moment, None):
        with pytest.raises(CommandFailed) as caught:
            bring_back_to(log, made, until)
        assert "Nothing was replaced" in caught.value.message
    assert cluster.pid == server, "it was not even stopped"
    assert cluster.sql("select n from younger") == "1"


@pytest.mark.full
def test_a_part_of_the_log_that_is_missing_is_seen_before_anything_is_done(
    log: Log, cluster: Service
) -> None:
    with streaming(log) as running:
        running.catch_up()
        made = back_up(log, "snapshot")
        write_log(cluster, 32)
        running.catch_up()
        log.store()
        write_log(cluster, 32)
        running.catch_up()
        log.store()
    assert len(log.batches) == 2
    moment = log.windows(made[2])[0].until
    lost = log.batches.pop(0)
    with pytest.raises(PlanRefused):
        bring_back_to(log, made, moment)
    log.batches.insert(0, lost)
    bring_back_to(log, made, moment)


@pytest.mark.full
def test_a_dead_console_cannot_fill_the_disk_and_what_is_missing_is_told(log: Log, cluster: Service) -> None:
    with streaming(log) as running:
        cluster.sql("create table t as select 1 n")
        running.catch_up()
        made = back_up(log, "snapshot")
        cluster.sql("insert into t values (2)")
        running.catch_up()
    old = log.windows(made[2])[0].until
    write_log(cluster, 4 * KEEP_MB)
    cluster.sql("checkpoint")
    size = sum(file.stat().st_size for file in (cluster.data / "pg_wal").iterdir() if file.is_file())
    assert size <= (KEEP_MB + 64 + 2 * 16) * _MIB, "what the slot may keep, and max_wal_size"
    slot = f"select wal_status from pg_replication_slots where slot_name = '{log.slot}'"
    assert cluster.sql(slot) == "lost"
    with streaming(log) as running:
        running.catch_up()
        (gap,) = running.gaps
        assert "removed" in gap.why and gap.from_lsn < gap.to_lsn
        assert cluster.sql(slot) == "reserved", "a new slot keeps what comes"
        assert [each.until for each in log.windows(made[2])] == [old], "no moment after the gap"
        cluster.sql("insert into t values (3)")
        running.catch_up()
        again = back_up(log, "snapshot")
        cluster.sql("insert into t values (4)")
        running.catch_up()
    new = log.windows(again[2])[-1].until
    bring_back_to(log, again, new)
    assert cluster.sql("select count(*) from t") == "4"
    bring_back_to(log, made, old)
    assert cluster.sql("select count(*) from t") == "2", "what was kept before the gap is as good as before"


@pytest.mark.full
def test_after_a_comeback_the_log_is_another_one(log: Log, cluster: Service) -> None:
    with streaming(log) as running:
        cluster.sql("create table t as select 1 n")
        running.catch_up()
        first = back_up(log, "snapshot")
        cluster.sql("insert into t values (2)")
        moment = server_time(cluster)
        cluster.sql("insert into t values (3)")
        running.catch_up()
        bring_back_to(log, first, moment)
        running.end_by_itself()
    assert cluster.sql("select count(*) from t") == "2"
    with streaming(log) as running:
        cluster.sql("insert into t values (33)")
        running.catch_up()
        assert "timeline 2" in running.gaps[0].why
        assert len(log.windows(first[2])) == 1, "the new log needs a new restore point"
        second = back_up(log, "snapshot")
        cluster.sql("insert into t values (4)")
        younger = server_time(cluster)
        cluster.sql("drop table t")
        running.catch_up()
    destroy(cluster)
    bring_back_to(log, second, younger)
    assert cluster.sql("select n from t order by n") == "1\n2\n4\n33"
    # once more to the first timeline: the log of then is still that of then
    bring_back_to(log, first, moment)
    assert cluster.sql("select count(*) from t") == "2"


@pytest.mark.full
def test_a_server_that_went_back_without_a_timeline_of_its_own_is_noticed(log: Log, cluster: Service) -> None:
    """A restore point that comes back as it is recovers as after a crash: its log goes on under the same
    names and positions, with other content."""
    with streaming(log) as running:
        cluster.sql("create table t as select 1 n")
        running.catch_up()
        stored, known, base = back_up(log, "snapshot")
        cluster.sql("insert into t select generate_series(2, 1000)")
        running.catch_up()
        bring_back(log.console, stored, known, cluster.daemon.name)
        running.end_by_itself()
    cluster.wait()
    cluster.sql("insert into t select generate_series(5000, 9000)")
    with streaming(log) as running:
        running.catch_up()
        (gap,) = running.gaps
        assert "restored" in gap.why
    assert len(log.windows(base)) == 1


def says(worker: Worker, word: str) -> bool:
    return any(line.startswith(word) for line in worker.lines)


@pytest.mark.full
def test_a_console_that_is_killed_again_and_again_loses_nothing(
    machine: Device, log: Log, cluster: Service
) -> None:
    order = {"instance": str(cluster.data), "slot": log.slot, "spool": str(log.spool)}
    chance = random.Random(4)
    with streaming(log) as running:
        running.catch_up()
        made = back_up(log, "snapshot")
    with ledger(cluster) as writer:
        for _ in range(5):
            worker = Worker(log.console, cluster.data, module="wal_child", more=order)
            wait_until(partial(says, worker, "streamed"), timeout_s=120, what="the stream")
            cluster.sql("create table filler as select generate_series(1, 200000) n; drop table filler")
            time.sleep(chance.uniform(0, 2))
            worker.close()
            assert not says(worker, "gap")
            log.store()
            # the device ends what is left of it by itself
            wait_until(lambda: not find_traces(machine, log.console.id), timeout_s=120, what="a clean device")
        with streaming(log) as running:
            running.catch_up()
            assert running.gaps == []
    (window,) = log.windows(made[2])
    bring_back_to(log, made, None)
    found = numbers(cluster)
    safe = [number for when, number in writer.acknowledged if when <= window.until]
    assert found == list(range(1, len(found) + 1)) and found[-1] >= safe[-1]


class Impatient(Stopper):
    """Stops a while after the replay began."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self.asked = 0

    def raise_if_stopped(self) -> None:
        self.asked += any("replay its log" in sentence for sentence in self.console.sentences)
        self.is_stopped = self.asked > 2
        super().raise_if_stopped()


@pytest.mark.full
def test_a_replay_that_is_stopped_leaves_nothing(log: Log, cluster: Service) -> None:
    with streaming(log) as running:
        running.catch_up()
        stored, known, base = back_up(log, "snapshot")
        cluster.sql("create table t as select n, md5(n::text) from generate_series(1, 1000000) n")
        cluster.sql("create index on t (md5)")
        running.catch_up()
    server, beside = cluster.pid, sorted(each.name for each in cluster.data.parent.iterdir())
    with pytest.raises(Cancelled):
        bring_back(
            log.console, stored, known, cluster.daemon.name,
            replay=log.replay(None, base), control=Impatient(log.console),
        )  # fmt: skip
    assert cluster.pid == server and cluster.sql("select count(*) from t") == "1000000"
    assert sorted(each.name for each in cluster.data.parent.iterdir()) == beside
    cluster.stop()
    assert_device_is_clean(log.console)


@pytest.mark.full
def test_a_server_that_waits_for_its_sessions_is_not_kept_from_ending(log: Log, cluster: Service) -> None:
    with streaming(log) as running:
        running.catch_up()
        os.kill(cluster.pid, signal.SIGTERM)  # "smart": when the last session ends
        wait_until(lambda: cluster.pid == 0, timeout_s=120, what="the end of the server")
        assert "stopped" in running.end_by_itself().message
    cluster.start()
    with streaming(log) as running:
        running.catch_up()
        assert running.gaps == []


@pytest.mark.full
def test_a_console_without_room_takes_no_log_and_goes_on_later(
    log: Log, cluster: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with streaming(log) as running:
        running.catch_up()
        with monkeypatch.context() as patch:
            patch.setattr("agents.wal.spool.LEAST_FREE_BYTES", 2**60)
            cluster.sql("create table t as select 1 n")
            assert isinstance(running.end_by_itself(), RepositoryFull)
    with streaming(log) as running:
        running.catch_up()
        assert running.gaps == []


@pytest.mark.full
def test_a_server_that_would_keep_its_log_without_bound_is_refused(
    console: Console, machine: Device, tmp_path: Path
) -> None:
    data = machine.btrfs / f"data-{console.id}"
    cluster = Service(data, tmp_path / "state", f"hotfleet-pg-{console.id}")
    cluster.create()
    with cluster:
        log = Log(console, cluster, tmp_path / "spool")
        told: list[object] = []
        with pytest.raises(PlanRefused) as caught:
            stream(log.request(), console.open_session, tell=told.append, control=Stopper())
        assert "max_slot_wal_keep_size" in caught.value.remedy
        assert cluster.sql("select count(*) from pg_replication_slots") == "0", "nothing was made"
        cluster.stop()
    shutil.rmtree(data)
