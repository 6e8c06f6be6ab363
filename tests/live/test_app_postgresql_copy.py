"""PostgreSQL whose files lie on several volumes: the low-level copy, restored as docs/operate.md says."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.applications import postgresql_copy
from agents.errors import ResticFailed
from agents.events import Consistency
from tests.live.copying import (
    BIG,
    LOCATION,
    assert_no_point,
    assert_nothing_is_kept,
    back_up,
    fetch,
    only,
    overtake,
    paused,
    put_together,
)
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.pgbench import assert_whole, count_writes, load
from tests.live.postgresql import Cluster, as_postgres, own

IS_FULL = os.environ.get("HOTFLEET_CAMPAIGN") == "full"
BACKUPS = 20 if IS_FULL else 2


@pytest.fixture
def cluster(spread: tuple[Cluster, Path]) -> Cluster:
    return spread[0]


@pytest.fixture
def console(machine: Device, tmp_path: Path) -> Console:
    return Console(machine, tmp_path)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that postgres may enter, for what is restored."""
    folder = Path(tempfile.mkdtemp(prefix="hotfleet-copied-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_copies_under_load_start_whole_and_touch_nothing_of_the_original(
    console: Console, cluster: Cluster, place: Path, elsewhere: Path
) -> None:
    seen = 0
    with load(cluster):
        for _ in range(BACKUPS):
            point = only(back_up(console, cluster, ""))
            assert (point.consistency, point.method) == (Consistency.APPLICATION, "copy")
            assert_nothing_is_kept(cluster)
            data = put_together(console, point, place)
            (link,) = (data / "pg_tblspc").iterdir()
            assert link.resolve() == data.parent / "tablespaces" / link.name
            assert not (data / "pg_wal").is_symlink()
            assert str(elsewhere / "fa st") in (data.parent / "tablespace_map").read_text()
            with Cluster.of_copy(data) as restored:
                writes = assert_whole(restored)
                assert seen < writes <= count_writes(cluster)
                assert restored.sql("select pg_relation_filepath('pgbench_accounts')").startswith("pg_tblspc")
            seen = writes
    assert_device_is_clean(console)


def test_tablespaces_move_where_a_person_wants_them(console: Console, cluster: Cluster, place: Path) -> None:
    data = put_together(console, only(back_up(console, cluster)), place)
    (link,) = (data / "pg_tblspc").iterdir()
    moved = place / "moved"
    own(moved)
    as_postgres("mv", data.parent / "tablespaces" / link.name, moved)
    as_postgres("ln", "-sfn", moved / link.name, link)
    with Cluster.of_copy(data) as restored:
        assert_whole(restored)
        assert restored.sql(LOCATION) == str(moved / link.name)


def test_the_archive_is_one_that_any_program_reads_to_its_end(
    console: Console, cluster: Cluster, place: Path
) -> None:
    archive = fetch(console, only(back_up(console, cluster)), place)
    with tarfile.open(archive, errorlevel=2) as file:
        members = file.getmembers()
        label = file.extractfile("data/backup_label")
        assert label is not None
        text = label.read()
        end = file.offset
    assert text.startswith(b"START WAL LOCATION") and text.endswith(b"START TIMELINE: 1\n")
    names = [member.name for member in members]
    assert len(set(names)) == len(names)
    assert archive.stat().st_size - end <= 10240
    order = [names.index(f"data/{name}") for name in ("PG_VERSION", "global/pg_control", "backup_label")]
    assert order == sorted(order)
    wal = [name for name in names if name.startswith("data/pg_wal/0")]
    assert wal and names[-len(wal) :] == wal
    for name in ("postmaster.pid", "postmaster.opts", "tablespace_map"):
        assert f"data/{name}" not in names
    assert {member.uname for member in members} == {"postgres"}
    data = next(member for member in members if member.name == "data")
    assert data.mode == 0o700


def test_the_wal_that_a_copy_needs_is_kept_however_slow_it_is(
    console: Console, machine: Device, cluster: Cluster, place: Path
) -> None:
    with paused(machine, lambda: overtake(cluster)):
        point = only(back_up(console, cluster))
    with Cluster.of_copy(put_together(console, point, place)) as restored:
        assert_whole(restored)


def test_without_its_slot_the_same_copy_fails(
    console: Console, machine: Device, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test above: the WAL is really gone."""
    lines = postgresql_copy._COPY.splitlines(keepends=True)
    without = [line for line in lines if "physical_replication_slot" not in line and "drop_" not in line]
    assert len(lines) - len(without) == 2
    monkeypatch.setattr(postgresql_copy, "_COPY", "".join(without))
    with pytest.raises(ResticFailed) as failed, paused(machine, lambda: overtake(cluster)):
        back_up(console, cluster)
    assert "is gone" in failed.value.detail
    assert_no_point(console, cluster)


@pytest.fixture
def moving(cluster: Cluster) -> Iterator[Callable[[], None]]:
    """What makes files vanish, shrink and grow."""
    cluster.sql("create database doomed")
    for name in ("vanishing", "shrinking"):
        cluster.sql(f"create table {name} as {BIG}")
    cluster.sql("create table growing (t text)")

    def move() -> None:
        cluster.sql("drop database doomed")
        cluster.sql("drop table vanishing")
        cluster.sql("delete from shrinking")
        cluster.sql("vacuum (truncate) shrinking")
        cluster.sql(f"insert into growing {BIG}")
        cluster.sql("checkpoint")

    yield move
    cluster.sql("drop table if exists vanishing, shrinking, growing")
    cluster.sql("drop database if exists doomed")


def test_files_that_vanish_shrink_and_grow_meanwhile_are_mended_by_the_wal(
    console: Console, machine: Device, cluster: Cluster, place: Path, moving: Callable[[], None]
) -> None:
    with paused(machine, moving):
        point = only(back_up(console, cluster))
    with Cluster.of_copy(put_together(console, point, place)) as restored:
        assert_whole(restored)
        assert restored.sql("select to_regclass('vanishing') is null, count(*) from shrinking") == "t|0"
        assert restored.sql("select count(*) from growing") == "20000"
        assert restored.sql("select count(*) from pg_database where datname = 'doomed'") == "0"


def test_the_files_above_did_move_while_they_were_read(
    console: Console,
    machine: Device,
    cluster: Cluster,
    moving: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: tar tells of it, and a copy that minds it fails."""
    strict = postgresql_copy.HALVES.replace("head 0' | 'tar 1\n", "")
    assert strict != postgresql_copy.HALVES
    monkeypatch.setattr(postgresql_copy, "HALVES", strict)
    with pytest.raises(ResticFailed) as failed, paused(machine, moving):
        back_up(console, cluster)
    assert "tar 1 head 0" in failed.value.detail
    assert_no_point(console, cluster)


@pytest.fixture
def standby(machine: Device, cluster: Cluster) -> Iterator[Cluster]:
    data, space = own(machine.btrfs / "standby"), own(machine.btrfs / "standby-fast")
    mapping = f"--tablespace-mapping={cluster.sql(LOCATION)}={space}"
    cluster.run("pg_basebackup", "-D", data, "-R", "-c", "fast", mapping)
    with Cluster(data) as standby:
        yield standby
    for folder in (data, space):
        shutil.rmtree(folder)


def test_a_standby_is_copied_like_its_primary(
    console: Console, cluster: Cluster, standby: Cluster, place: Path
) -> None:
    with load(cluster):
        wait_until(lambda: count_writes(standby) > 0, what="the first write on the standby")
        point = only(back_up(console, standby))
    copy = put_together(console, point, place)
    (copy / "standby.signal").unlink()
    with Cluster.of_copy(copy) as restored:
        assert 0 < assert_whole(restored) <= count_writes(cluster)
    assert_nothing_is_kept(standby)
    assert any("standby.signal" in said for said in console.sentences)


def test_a_standby_that_becomes_a_primary_meanwhile_is_no_restore_point(
    console: Console, machine: Device, standby: Cluster
) -> None:
    with pytest.raises(ResticFailed) as failed, paused(machine, lambda: standby.sql("select pg_promote()")):
        back_up(console, standby)
    assert "the standby was promoted" in failed.value.detail
    assert_no_point(console, standby)
