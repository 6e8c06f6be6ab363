"""PostgreSQL, hot, under load: every copy is restored, started, and counted."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.backup import BackupOutcome
from agents.events import Consistency, Froze
from agents.plan import SourceRequest
from agents.storing import Point
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device
from tests.live.pgbench import assert_whole, count_writes, load, prepare
from tests.live.postgresql import Cluster, as_postgres, own

IS_FULL = os.environ.get("HOTFLEET_CAMPAIGN") == "full"
BACKUPS = 50 if IS_FULL else 3


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


def source(cluster: Cluster, method: str = "", **wishes: object) -> SourceRequest:
    return SourceRequest(application="postgresql", instance=str(cluster.data), method=method, **wishes)  # type: ignore[arg-type]


def only(outcome: BackupOutcome) -> Point:
    (point,) = outcome.points
    return point


def restore_files(console: Console, point: Point, cluster: Cluster, place: Path) -> Path:
    target = place / f"data-{point.restic_id[:8]}"
    assert console.restore(point.restic_id, cluster.data, target).is_complete
    return own(target)


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
            with Cluster(target) as restored:
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


def test_a_stream_of_the_whole_cluster_starts_whole(console: Console, cluster: Cluster, place: Path) -> None:
    with load(cluster):
        point = only(console.back_up(source(cluster, "stream")))
    assert point.consistency is Consistency.APPLICATION
    assert console.restore(point.restic_id, "/", place / "stream").is_complete
    data, folder = own(place / "data"), own(place / "stream")
    shutil.chown(folder / "base.tar", "postgres")
    as_postgres("tar", "-x", "-C", data, "-f", folder / "base.tar")
    as_postgres(Cluster.binaries / "pg_verifybackup", "-n", data)
    with Cluster(data) as restored:
        assert 0 < assert_whole(restored) <= count_writes(cluster)
    assert cluster.sql("select count(*) from pg_replication_slots") == "0"
    assert_device_is_clean(console)
