"""PostgreSQL's log is streamed, and it comes back to a moment."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agents.applications.stored import Stored
from agents.errors import Cancelled
from agents.facts import Instance
from agents.plan import SourceRequest
from agents.wal import (
    Base,
    Batch,
    Gap,
    Replay,
    Streamed,
    StreamRequest,
    WalLog,
    base_for,
    coverage,
    drop_slot,
    make_slot_name,
    read_spool,
    store_batch,
    stream,
)
from tests.live.daemons import bring_back, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.postgresql import Service, destroy


@pytest.fixture(scope="module")
def machine(live_ground: None) -> Iterator[Device]:
    with Device() as device:
        device.directory.chmod(0o755)
        device.btrfs.chmod(0o755)
        yield device


@pytest.fixture
def console(machine: Device, tmp_path: Path) -> Console:
    return Console(machine, tmp_path)


@pytest.fixture
def cluster(machine: Device, console: Console, tmp_path: Path) -> Iterator[Service]:
    data = machine.btrfs / f"da ta {console.id}"
    cluster = Service(data, tmp_path / "state", f"hotfleet-pg-{console.id}", "max_slot_wal_keep_size=64MB")
    cluster.create()
    with cluster:
        yield cluster
    shutil.rmtree(data, ignore_errors=True)


class Stopper:
    def __init__(self) -> None:
        self.is_stopped = False

    def raise_if_stopped(self) -> None:
        if self.is_stopped:
            raise Cancelled("stopped")

    def is_current(self) -> bool:
        return True


class Streaming:
    """A stream in a thread, and what it told."""

    def __init__(self, console: Console, cluster: Service, spool: Path) -> None:
        self.request = StreamRequest(
            console.id, secrets.token_hex(16), str(cluster.data), make_slot_name(console.id, "d1"), spool
        )
        self.console = console
        self.control = Stopper()
        self.told: list[object] = []
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            stream(self.request, self.console.open_session, tell=self.told.append, control=self.control)
        except BaseException as error:
            self.error = error

    @property
    def gaps(self) -> list[Gap]:
        return [each for each in self.told if isinstance(each, Gap)]

    @property
    def last(self) -> Streamed | None:
        return next((each for each in reversed(self.told) if isinstance(each, Streamed)), None)


@contextmanager
def streaming(console: Console, cluster: Service, spool: Path) -> Iterator[Streaming]:
    running = Streaming(console, cluster, spool)
    running.thread.start()
    try:
        yield running
    finally:
        running.control.is_stopped = True
        running.thread.join(60)
    assert isinstance(running.error, Cancelled), running.error


def seen(running: Streaming, cluster: Service) -> None:
    """Wait until all that the server wrote is in the spool, and it said so."""
    lsn = int(cluster.sql("select pg_current_wal_flush_lsn() - '0/0'"))

    def is_here() -> bool:
        if running.error is not None:
            raise AssertionError(running.error)
        return running.last is not None and running.last.behind_bytes == 0 and running.last.tick.lsn >= lsn

    wait_until(is_here, timeout_s=60, what="the log in the spool")


def source(cluster: Service, method: str) -> SourceRequest:
    return SourceRequest(application="postgresql", instance=str(cluster.data), method=method)


def back_up(console: Console, cluster: Service, method: str) -> tuple[Stored, Instance | None, Base]:
    began = datetime.now(UTC)
    outcome = console.back_up(source(cluster, method))
    stored, known = stored_of(outcome, "postgresql", str(cluster.data))
    return stored, known, Base("base", began, datetime.now(UTC))


@pytest.mark.parametrize("method", ["snapshot", "stream"])
def test_what_was_dropped_comes_back_as_it_was_a_second_before(
    console: Console, cluster: Service, tmp_path: Path, method: str
) -> None:
    spool = tmp_path / "spool"
    batches: list[Batch] = []
    with streaming(console, cluster, spool) as running:
        cluster.sql("create table t as select 1 n")
        seen(running, cluster)
        stored, known, base = back_up(console, cluster, method)
        cluster.sql("insert into t values (2)")
        cluster.sql("create table filler as select generate_series(1, 300000) n")
        seen(running, cluster)
        batch = store_batch(console.place, console.binary, spool, host=console.device.name)
        assert batch is not None
        batches.append(batch)
        cluster.sql("insert into t values (3)")
        time.sleep(0.5)
        moment = datetime.fromisoformat(cluster.sql("select clock_timestamp()"))
        time.sleep(0.5)
        cluster.sql("drop table t")
        cluster.sql("create table younger as select 1 n")
        seen(running, cluster)
    pieces = [*(each.piece for each in batches), *read_spool(spool)]
    (window,) = coverage([base], pieces)
    assert window.since <= moment <= window.until and base_for(moment, [window], pieces) == base
    destroy(cluster)
    replay = Replay(moment, base, WalLog(tuple(batches), spool, console.device.name))
    back = bring_back(console, stored, known, cluster.daemon.name, replay=replay)
    assert back.tail is not None
    cluster.wait()
    assert cluster.sql("select n from t order by n") == "1\n2\n3"
    assert cluster.sql("select to_regclass('younger') is null") == "t"
    assert cluster.sql("select pg_is_in_recovery()") == "f"
    assert not (cluster.data / "hotfleet-wal").exists()
    assert any("replayed to" in sentence for sentence in console.sentences)
    assert_writable(cluster)
    assert not drop_slot(running.request, console.open_session, tell=running.told.append)
    cluster.stop()
    assert_device_is_clean(console)


def assert_writable(cluster: Service) -> None:
    cluster.sql("insert into t values (4)")
