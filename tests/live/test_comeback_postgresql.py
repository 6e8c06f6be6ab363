"""PostgreSQL comes back after its data directory was destroyed, over a server that runs, beside it, and one
database of a dump.

About 2 minutes on two cores."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications.stored import Stored, StoredPart
from agents.comeback import Way
from agents.errors import ComebackFailed, ServiceDown
from agents.plan import SourceRequest
from tests.live.daemons import bring_back, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, open_to_all
from tests.live.pgbench import assert_whole, count_writes, load, prepare
from tests.live.postgresql import Cluster, Service, as_postgres, destroy


@pytest.fixture(scope="module")
def machine(live_ground: None) -> Iterator[Device]:
    with open_to_all() as device:
        yield device


@pytest.fixture
def console(machine: Device, tmp_path: Path) -> Console:
    return Console(machine, tmp_path)


@pytest.fixture
def cluster(machine: Device, console: Console, tmp_path: Path) -> Iterator[Service]:
    data = machine.btrfs / f"da ta {console.id}"
    cluster = Service(data, tmp_path / "state", f"hotfleet-pg-{console.id}", "logging_collector=on")
    cluster.create()
    with cluster:
        prepare(cluster, scale=1)
        yield cluster
    shutil.rmtree(data, ignore_errors=True)


def source(cluster: Cluster, method: str = "") -> SourceRequest:
    return SourceRequest(application="postgresql", instance=str(cluster.data), method=method)


def write_more(cluster: Cluster) -> int:
    """Return how many transactions there are then."""
    cluster.run("pgbench", "-n", "-c", "2", "-t", "100", "postgres")
    return count_writes(cluster)


def left_beside(data: Path) -> list[str]:
    return sorted(each.name for each in data.parent.iterdir() if each.name != data.name)


@pytest.mark.parametrize("method", ["snapshot", "stream", "copy"])
def test_a_destroyed_cluster_comes_back(console: Console, cluster: Service, method: str) -> None:
    beside = left_beside(cluster.data)
    with load(cluster):
        before = count_writes(cluster)
        outcome = console.back_up(source(cluster, method))
    cluster.sql("create table younger as select 1 n")
    stored, known = stored_of(outcome, "postgresql", str(cluster.data))
    destroy(cluster)
    back = bring_back(console, stored, known, cluster.daemon.name)
    assert back.places[0] == str(cluster.data)
    cluster.wait()
    assert assert_whole(cluster) >= before
    assert cluster.sql("select to_regclass('younger') is null") == "t"
    assert cluster.data.stat().st_mode & 0o777 == 0o700
    assert cluster.data.owner() == "postgres"
    assert left_beside(cluster.data) == beside
    cluster.stop()
    assert_device_is_clean(console)


def test_it_comes_back_over_a_server_that_runs(console: Console, cluster: Service) -> None:
    outcome = console.back_up(source(cluster))
    before = write_more(cluster)
    cluster.sql("create table younger as select 1 n")
    stored, known = stored_of(outcome, "postgresql", str(cluster.data))
    server, ending = cluster.pid, f"before-{console.id}"
    back = bring_back(console, stored, known, cluster.daemon.name, keep_ending=ending)
    assert cluster.pid not in (0, server) and cluster.daemon.calls[-2:] == ["stop", "start"]
    assert assert_whole(cluster) < before
    assert cluster.sql("select to_regclass('younger') is null") == "t"
    (kept,) = map(Path, back.kept)
    cluster.stop()
    # what was there was kept, and works
    shutil.rmtree(cluster.data)
    kept.rename(cluster.data)
    cluster.start()
    assert assert_whole(cluster) >= before and cluster.sql("select n from younger") == "1"
    cluster.stop()
    assert_device_is_clean(console)


@pytest.mark.full  # minutes; tests/agents/test_returning_swap.py holds the same in seconds
def test_a_data_directory_that_is_a_mount_point_is_replaced_entry_by_entry(
    console: Console, machine: Device, tmp_path: Path
) -> None:
    data = machine.make_file_system("xfs", name=f"data-{console.id}", size_mb=512)
    cluster = Service(data, tmp_path / "state", f"hotfleet-pg-{console.id}", "logging_collector=on")
    cluster.create()
    with cluster:
        prepare(cluster, scale=1)
        before = write_more(cluster)
        stored, known = stored_of(console.back_up(source(cluster, "stream")), "postgresql", str(data))
        write_more(cluster)
        bring_back(console, stored, known, cluster.daemon.name)
        assert assert_whole(cluster) == before
        assert not [each for each in data.iterdir() if each.name.startswith(".")]
        # and gives way again
        bad, now = torn(console, cluster), write_more(cluster)
        with pytest.raises(ComebackFailed):
            bring_back(console, bad, None, cluster.daemon.name)
        cluster.wait()
        assert assert_whole(cluster) == now
        assert not [each for each in data.iterdir() if each.name.startswith(".")]
        cluster.stop()
    assert_device_is_clean(console)


def torn(console: Console, cluster: Service) -> Stored:
    """A restore point on which no server starts: its WAL is of no cluster."""
    cluster.stop()
    segments = {file: file.read_bytes() for file in (cluster.data / "pg_wal").iterdir() if file.is_file()}
    for file in segments:
        file.write_bytes(b"\0" * len(segments[file]))
    (point,) = console.back_up(str(cluster.data), fallback="accept-live").points
    for file, good in segments.items():
        file.write_bytes(good)
    cluster.start()
    part = StoredPart(point.restic_id, "", point.paths, point.size_bytes)
    return Stored("postgresql", str(cluster.data), point.method, (part,), (str(cluster.data),))


def test_when_it_does_not_start_the_old_data_is_back_and_its_server_runs(
    console: Console, cluster: Service
) -> None:
    stored = torn(console, cluster)
    beside = left_beside(cluster.data)
    before = write_more(cluster)
    with pytest.raises(ComebackFailed) as caught:
        # All of it is waited for: who asks a service without systemd learns only that it does not run yet.
        bring_back(console, stored, None, cluster.daemon.name, longest_start_s=20)
    assert "is put back" in caught.value.message
    assert "checkpoint record" in caught.value.detail, "what the server itself says"
    cluster.wait()
    assert assert_whole(cluster) == before
    assert left_beside(cluster.data) == beside
    cluster.stop()
    assert_device_is_clean(console)


@pytest.mark.full  # minutes; tests/agents/test_returning_swap.py holds the same in seconds
def test_what_comes_to_the_place_of_nothing_stays_when_it_does_not_start(
    console: Console, cluster: Service
) -> None:
    stored = torn(console, cluster)
    destroy(cluster)
    with pytest.raises((ComebackFailed, ServiceDown)):
        bring_back(console, stored, None, cluster.daemon.name)
    assert any("stays in its place" in sentence for sentence in console.sentences)
    assert (cluster.data / "PG_VERSION").exists()


def test_a_server_that_somebody_started_by_hand_is_not_pulled_away_from(
    console: Console, cluster: Service
) -> None:
    """Its service stands, and another process has the files open."""
    outcome = console.back_up(source(cluster))
    stored, known = stored_of(outcome, "postgresql", str(cluster.data))
    (cluster.daemon.state / "pid").rename(cluster.daemon.state / "hidden")
    with pytest.raises(ComebackFailed) as caught:
        bring_back(console, stored, known, cluster.daemon.name)
    assert "could not be stopped" in caught.value.message and str(cluster.data) in caught.value.detail
    (cluster.daemon.state / "hidden").rename(cluster.daemon.state / "pid")
    assert_whole(cluster)


def test_a_cluster_without_a_service_is_stopped_and_started_by_its_own_program(
    console: Console, cluster: Service
) -> None:
    outcome = console.back_up(source(cluster))
    stored, known = stored_of(outcome, "postgresql", str(cluster.data))
    server = cluster.pid
    bring_back(console, stored, known)
    started = int((cluster.data / "postmaster.pid").read_text().split()[0])
    assert started != server
    assert_whole(cluster)
    # by this id it is ended
    (cluster.daemon.state / "pid").write_text(str(started))


def find_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("method", ["snapshot", "copy"])
def test_it_runs_beside_the_present_one(console: Console, cluster: Service, method: str) -> None:
    outcome = console.back_up(source(cluster, method))
    before = write_more(cluster)
    cluster.sql("alter system set archive_command = 'touch /tmp/hotfleet-was-here'")
    stored, known = stored_of(outcome, "postgresql", str(cluster.data))
    folder, server = Path("/var/lib") / f"hotfleet-beside-{console.id}", cluster.pid
    port = find_port()
    back = bring_back(console, stored, known, way=Way.BESIDE, folder=str(folder), port=port)
    try:
        other = Other(cluster, folder / "socket", port)
        assert assert_whole(other) < before
        assert other.sql("show config_file") == str(folder / "postgresql.conf")
        assert (cluster.pid, count_writes(cluster)) == (server, before), "the present one noticed nothing"
    finally:
        subprocess.run(["/bin/sh", "-c", back.stop_line], check=True, capture_output=True)
    assert not folder.exists()
    cluster.stop()
    assert_device_is_clean(console)


class Other(Cluster):
    """A server that runs already."""

    def __init__(self, cluster: Cluster, folder: Path, port: int) -> None:
        self.binaries, self.socket, self._port = cluster.binaries, folder, port

    def run(
        self, program: str, *words: str | Path, check: bool = True, text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        way = (f"PGHOST={self.socket}", f"PGPORT={self._port}")
        return as_postgres("env", *way, self.binaries / program, *words, check=check, text=text)


def test_what_does_not_start_beside_leaves_nothing(console: Console, cluster: Service) -> None:
    stored = torn(console, cluster)
    folder = Path("/var/lib") / f"hotfleet-beside-{console.id}"
    with pytest.raises(ComebackFailed):
        bring_back(console, stored, None, way=Way.BESIDE, folder=str(folder), port=find_port())
    assert not folder.exists()
    assert_whole(cluster)


def test_one_database_of_a_dump_comes_back_under_a_new_name(console: Console, cluster: Service) -> None:
    outcome = console.back_up(source(cluster, "dump"))
    then = count_writes(cluster)
    now = write_more(cluster)
    stored, known = stored_of(outcome, "postgresql", str(cluster.data))
    name = 'post"gres restored'
    bring_back(console, stored, known, way=Way.DATABASE, part="postgres.dump", new_name=name)
    query = "select count(*) from pgbench_history"
    assert int(cluster.sql(query, database=name)) == then and count_writes(cluster) == now
    bring_back(
        console,
        stored,
        known,
        way=Way.DATABASE,
        part="postgres.dump",
        new_name="one",
        table="pgbench_tellers",
    )
    assert cluster.sql(
        "select relname from pg_class where relkind = 'r' and relname ~ 'pgbench'", database="one"
    ) == ("pgbench_tellers")
    # a name that is taken is left alone, and nothing else is left
    with pytest.raises(ComebackFailed) as caught:
        bring_back(console, stored, known, way=Way.DATABASE, part="postgres.dump", new_name="one")
    assert "already exists" in caught.value.message
    assert sorted(cluster.sql("select datname from pg_database").split("\n")) == sorted(
        ["postgres", "template0", "template1", name, "one"]
    )
    cluster.stop()
    assert_device_is_clean(console)
