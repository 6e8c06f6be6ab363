"""PostgreSQL comes back after its data directory was destroyed, under writers, and over a server that runs.

About 90 seconds on two cores; HOTFLEET_CAMPAIGN=full runs the whole sweep of kills (6 minutes more)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications.stored import Stored, StoredPart
from agents.errors import ComebackFailed, ServiceDown
from agents.plan import SourceRequest
from tests.live.daemons import Daemon, bring_back, kill, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.pgbench import assert_whole, count_writes, load, prepare
from tests.live.postgresql import _AS_POSTGRES, Cluster


class Service(Cluster):
    """A cluster whose server is a service of the device."""

    def __enter__(self) -> Service:
        super().__enter__()
        return self

    def __init__(self, data: Path, state: Path, name: str, *settings: str) -> None:
        super().__init__(data, *settings)
        words: list[str | Path] = [*_AS_POSTGRES, self.binaries / "postgres", "-D", data, "-k", self.socket]
        for setting in self.settings:
            words += ["-c", setting]
        self.daemon = Daemon(state, name, data, words, "INT")

    def start(self) -> None:
        assert self.daemon.call("start") == 0
        self.wait()

    def wait(self) -> None:
        wait_until(
            lambda: self.run("pg_isready", "-q", check=False).returncode == 0,
            timeout_s=120,
            what="an answer of PostgreSQL",
        )

    def __exit__(self, *exception: object) -> None:
        self.daemon.__exit__(None, None, None)
        shutil.rmtree(self.socket)

    def stop(self) -> None:
        assert self.daemon.call("stop") == 0

    @property
    def pid(self) -> int:
        return self.daemon.pid


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
    cluster = Service(data, tmp_path / "state", f"hotfleet-pg-{console.id}", "logging_collector=on")
    cluster.create()
    with cluster:
        prepare(cluster, scale=1)
        yield cluster
    shutil.rmtree(data, ignore_errors=True)


def source(cluster: Cluster, method: str = "") -> SourceRequest:
    return SourceRequest(application="postgresql", instance=str(cluster.data), method=method)


def destroy(cluster: Service) -> None:
    """The disaster: the data is removed under the running server, which then is gone too."""
    shutil.rmtree(cluster.data, ignore_errors=True)
    if cluster.pid:  # it may have noticed by itself
        kill(cluster.pid)
    wait_until(lambda: is_removed(cluster.data), what="the end of what the server still wrote")


def is_removed(data: Path) -> bool:
    shutil.rmtree(data, ignore_errors=True)
    return not data.exists()


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


def torn(console: Console, cluster: Service) -> Stored:
    """A restore point on which no server starts: its WAL is of no cluster."""
    cluster.stop()
    segments = {file: file.read_bytes() for file in (cluster.data / "pg_wal").iterdir() if file.is_file()}
    for file in segments:
        file.write_bytes(b"\0" * len(segments[file]))
    (point,) = console.back_up(str(cluster.data)).points
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
        bring_back(console, stored, None, cluster.daemon.name)
    assert "is put back" in caught.value.message
    assert "checkpoint record" in caught.value.detail, "what the server itself says"
    cluster.wait()
    assert assert_whole(cluster) == before
    assert left_beside(cluster.data) == beside
    cluster.stop()
    assert_device_is_clean(console)


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
