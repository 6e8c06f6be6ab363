"""PostgreSQL comes back after its data directory was destroyed, under writers, and over a server that runs.

About 90 seconds on two cores; HOTFLEET_CAMPAIGN=full runs the whole sweep of kills (6 minutes more)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.plan import SourceRequest
from tests.live.daemons import Daemon, bring_back, kill, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.pgbench import assert_whole, count_writes, load, prepare
from tests.live.postgresql import _AS_POSTGRES, Cluster


class Service(Cluster):
    """A cluster whose server is a service of the device."""

    def __init__(self, data: Path, state: Path, name: str, *settings: str) -> None:
        super().__init__(data, *settings)
        words = [*_AS_POSTGRES, self.binaries / "postgres", "-D", data, "-k", self.socket]
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

    def stop(self) -> None:
        self.daemon.__exit__(None, None, None)

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
    with Service(data, tmp_path / "state", f"hotfleet-pg-{console.id}").create() as cluster:
        prepare(cluster)
        yield cluster
    shutil.rmtree(data, ignore_errors=True)


def source(cluster: Cluster, method: str = "") -> SourceRequest:
    return SourceRequest(application="postgresql", instance=str(cluster.data), method=method)


def destroy(cluster: Service) -> None:
    """The disaster: the data is removed under the running server, which then is gone too."""
    shutil.rmtree(cluster.data, ignore_errors=True)
    kill(cluster.pid)
    wait_until(lambda: is_removed(cluster.data), what="the end of what the server still wrote")


def is_removed(data: Path) -> bool:
    shutil.rmtree(data, ignore_errors=True)
    return not data.exists()


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
