"""Drills of PostgreSQL under writers: every method, and what each of them must find. About three minutes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications.stored import Stored
from agents.applications.trials import Question
from agents.errors import ToolMissing
from agents.plan import SourceRequest
from tests.live.drills import Prover, assert_proven, full_only, say, stored_of
from tests.live.flows import assert_device_is_clean
from tests.live.ground import Device, open_to_all
from tests.live.pgbench import load, prepare
from tests.live.postgresql import Cluster, as_postgres, own

# Of pgbench's invariant: every transaction adds one number in three tables and notes it in a fourth.
SUMS = Question(
    "select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)",
    "=",
    "t",
)
WRITES = Question("select count(*) from pgbench_history", ">", "0", "postgres")


@pytest.fixture(scope="module")
def machine(live_ground: None) -> Iterator[Device]:
    with open_to_all() as device:
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


@pytest.mark.parametrize(
    "method", ["snapshot", *(pytest.param(each, marks=full_only) for each in ("copy", "dump"))]
)
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


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="hotfleet-drill-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def failed(console: Prover, stored: Stored, *questions: Question) -> list[str]:
    """Return which checks failed; that it was restored as it was stored was none of them."""
    evidence = console.drill(stored, *questions, sample=0)
    names = [check.name for check in evidence.failures]
    assert {"restore", "manifest", "configuration"} & set(names) == set(), say(evidence.checks)
    return names


def test_a_torn_copy_is_refuted(console: Prover, folder: Path) -> None:
    """As in test_app_postgresql_grounds: its checksums are good, and it starts."""
    with Cluster(folder / "data").create() as cluster:
        prepare(cluster, scale=1)
        cluster.sql("create table noted (number int primary key)")
        names = ("pgbench_accounts", "noted_pkey")
        early = [f"./{cluster.sql(f'select pg_relation_filepath({name!r})')}" for name in names]
        copy = own(folder / "copy")
        walk = 'cd "$1" && to=$2 && shift 2 && tar -c "$@" . | tar -x -C "$to" --overwrite'
        as_postgres("sh", "-c", walk, "sh", cluster.data, copy)
        cluster.run("pgbench", "-n", "-t", "2000", "postgres")
        cluster.sql("insert into noted select generate_series(1, 1000)")
        cluster.sql("checkpoint")
        late = [f"--exclude={each}" for each in (*early, "./postmaster.pid")]
        as_postgres("sh", "-c", walk, "sh", cluster.data, copy, *late)
    assert failed(console, console.store(copy, "postgresql", "bare"), SUMS) == ["pg_amcheck", "question 1"]


@full_only
def test_a_broken_page_and_an_empty_table_are_refuted(console: Prover, folder: Path) -> None:
    with Cluster(folder / "data").create() as cluster:
        prepare(cluster, scale=1)
        file = cluster.data / cluster.sql("select pg_relation_filepath('pgbench_accounts')")
    stored = console.store(cluster.data, "postgresql", "cold")
    assert failed(console, stored, WRITES) == ["question 1"]  # nobody wrote: the history is empty
    with file.open("r+b") as page:
        page.seek(100 * 8192 + 4000)
        page.write(os.urandom(16))
    assert "checksums" in failed(console, console.store(cluster.data, "postgresql", "cold"))


def test_streams_are_proven_and_refuted_when_they_are_cut_or_changed(console: Prover, folder: Path) -> None:
    with Cluster(folder / "data").create() as cluster:
        prepare(cluster, scale=1)
        with load(cluster, clients=2):
            source = SourceRequest(application="postgresql", instance=str(cluster.data), method="stream")
            stream = stored_of(console.back_up(source), "postgresql", str(cluster.data))
    assert_proven(console.drill(stream, SUMS, WRITES), "unpack", "files", "start", "pg_amcheck", "question 1")
    whole = bytearray(console.read(stream, "base.tar"))
    bad = folder / "base.tar"
    bad.write_bytes(whole[: len(whole) // 2])
    assert failed(console, console.store_stream(bad, "postgresql", "stream")) == ["unpack"]
    at = whole.index(b"filler") if b"filler" in whole else len(whole) // 2
    whole[at : at + 16] = os.urandom(16)
    bad.write_bytes(whole)
    assert "files" in failed(console, console.store_stream(bad, "postgresql", "stream"))


@full_only
def test_what_is_no_cluster_and_half_a_dump_are_refuted(console: Prover, folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "PG_VERSION").write_text("15\n")
    assert failed(console, console.store(folder / "data", "postgresql", "cold")) == ["cluster"]
    roles = folder / "globals.sql"
    roles.write_text("--\nCREATE ROLE one;\n")
    assert failed(console, console.store_stream(roles, "postgresql", "dump")) == ["roles"]


def test_a_version_that_is_not_installed_is_no_failed_check(console: Prover, folder: Path) -> None:
    (folder / "data" / "global").mkdir(parents=True)
    (folder / "data" / "global" / "pg_control").write_bytes(b"x" * 8192)
    (folder / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(ToolMissing) as missing:
        console.drill(console.store(folder / "data", "postgresql", "cold"))
    assert "apt install postgresql-12" in missing.value.remedy
    assert_device_is_clean(console)


@full_only
def test_a_cluster_that_is_like_no_other_is_proven(console: Prover, folder: Path) -> None:
    """Another superuser, its WAL elsewhere, a transaction that was prepared, slots, a standby's marks."""
    wal = own(folder / "w al")
    words = (f"--waldir={wal}", "-U", "odd one", "-A", "trust")
    cluster = Cluster(folder / "data", "max_prepared_transactions=10", "max_connections=333")
    with cluster.create(*words):
        ask = ("psql", "-X", "-q", "-U", "odd one", "-d", "postgres", "-c")
        cluster.run(*ask, "create table t as select 1 n")
        cluster.run(*ask, "begin; insert into t values (2); prepare transaction 'half'")
        cluster.run(*ask, "select pg_create_physical_replication_slot('slot', true)")
    (cluster.data / "standby.signal").touch()
    half = Question("select gid from pg_prepared_xacts", "=", "half")
    stored = console.store(folder, "postgresql", "cold")
    assert_proven(console.drill(stored, half, Question("select n from t", "=", "1")), "start", "question 1")
