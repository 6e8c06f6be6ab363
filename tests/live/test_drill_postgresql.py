"""Drills of PostgreSQL under writers: every method, and what each of them must find. About three minutes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications.trials import Question
from agents.plan import SourceRequest
from tests.live.drills import Prover, assert_proven, stored_of
from tests.live.flows import assert_device_is_clean
from tests.live.ground import Device
from tests.live.pgbench import load, prepare
from tests.live.postgresql import Cluster, own

# Of pgbench's invariant: every transaction adds one number in three tables and notes it in a fourth.
SUMS = Question(
    "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)",
    "=",
    "t",
)
WRITES = Question("select count(*) from pgbench_history", ">", "0", "postgres")


@pytest.fixture(scope="module")
def machine(live_ground: None) -> Iterator[Device]:
    with Device() as device:
        device.directory.chmod(0o755)
        device.btrfs.chmod(0o755)
        yield device


@pytest.fixture(scope="module")
def cluster(machine: Device) -> Iterator[Cluster]:
    with Cluster(machine.btrfs / "da ta").create() as cluster:
        prepare(cluster)
        space = own(machine.btrfs / "da ta" / ".." / "space")
        cluster.sql(f"create tablespace elsewhere location '{space.resolve()}'")
        cluster.sql("create table apart (n int primary key) tablespace elsewhere")
        cluster.sql("insert into apart select generate_series(1, 1000)")
        yield cluster


@pytest.fixture
def console(machine: Device, tmp_path: Path) -> Prover:
    return Prover(machine, tmp_path)


@pytest.mark.parametrize("method", ["snapshot", "copy", "dump"])
def test_a_backup_under_load_is_proven(console: Prover, cluster: Cluster, method: str) -> None:
    source = SourceRequest(application="postgresql", instance=str(cluster.data), method=method)
    with load(cluster):
        outcome = console.back_up(source)
    stored = stored_of(outcome, "postgresql", str(cluster.data))
    apart = Question("select count(*) from apart", "=", "1000")
    evidence = console.drill(stored, SUMS, WRITES, apart)
    assert_proven(evidence, "start", "checksums", "question 1", "question 2", "question 3")
    if method != "dump":
        assert_proven(evidence, "pg_amcheck", "configuration")
    assert evidence.start_s > 0
    assert_device_is_clean(console, own=[cluster.pid])
