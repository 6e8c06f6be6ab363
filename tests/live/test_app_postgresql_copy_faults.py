"""PostgreSQL's low-level copy, when somebody dies in its middle or something cannot be copied."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from agents.errors import ResticFailed
from tests.live.copying import (
    END,
    assert_no_point,
    back_up,
    paused,
    stopped_in_the_wal,
)
from tests.live.flows import Console
from tests.live.ground import Device
from tests.live.killer import Killer
from tests.live.postgresql import Cluster, own


@pytest.fixture
def cluster(spread: tuple[Cluster, Path]) -> Cluster:
    return spread[0]


@pytest.fixture
def console(machine: Device, tmp_path: Path) -> Console:
    return Console(machine, tmp_path)


@pytest.mark.parametrize("victim", ["tar", "head", "session"])
def test_a_copy_that_is_killed_half_way_is_no_restore_point(
    console: Console, machine: Device, cluster: Cluster, victim: str
) -> None:
    strike = (lambda pid: cluster.sql(END)) if victim == "session" else None
    killer = Killer(machine, victim, by="tar", strike=strike)
    with killer, pytest.raises(ResticFailed):
        back_up(console, cluster)
    assert killer.killed
    assert_no_point(console, cluster)


def ancestor(pid: int, generations: int) -> int:
    for _ in range(generations):
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid


@pytest.mark.parametrize(
    ("generations", "name"), [(1, "sh"), (2, "sh"), (3, "sh"), (4, "psql"), (5, "sh"), (6, "runuser")]
)
def test_whoever_is_killed_around_tar_there_is_no_restore_point(
    console: Console, machine: Device, cluster: Cluster, generations: int, name: str
) -> None:
    """The shells around the files, the session, the shell around it, who became its owner."""
    killed: list[str] = []

    def strike(pid: int) -> None:
        victim = ancestor(pid, generations)
        killed.append(Path(f"/proc/{victim}/comm").read_text().strip())
        os.kill(victim, signal.SIGKILL)

    with Killer(machine, "", by="tar", strike=strike), pytest.raises(ResticFailed):
        back_up(console, cluster)
    assert killed == [name]
    assert_no_point(console, cluster)


@pytest.mark.parametrize(
    ("victim", "why"),
    # psql ends with 2 when its connection does; restic may end before it has passed on what psql said
    [("tar", "tar 137"), ("session", "exit status 2"), ("file", "was removed while it was read")],
)
def test_a_copy_that_is_killed_while_it_reads_the_wal_is_no_restore_point(
    console: Console, machine: Device, cluster: Cluster, victim: str, why: str
) -> None:
    taken: list[tuple[Path, Path]] = []

    def strike(pid: int, reads: Path) -> None:
        if victim == "tar":
            os.kill(pid, signal.SIGKILL)
        elif victim == "session":
            cluster.sql(END)
        else:  # what was read already goes, as if the server had recycled it
            for file in reads.parent.glob("?" * 24):
                if file.name <= reads.name:
                    taken.append((file, file.rename(file.parent.parent / file.name)))

    try:
        with pytest.raises(ResticFailed) as failed, stopped_in_the_wal(machine, cluster, strike):
            back_up(console, cluster)
    finally:
        for file, kept in taken:
            kept.rename(file)
    assert bool(taken) == (victim == "file")
    assert why in failed.value.detail
    assert_no_point(console, cluster)


def test_a_server_that_dies_half_way_leaves_no_restore_point(
    console: Console, machine: Device, cluster: Cluster
) -> None:
    def die() -> None:
        if cluster.server is not None:
            cluster.server.send_signal(signal.SIGQUIT)
            cluster.server.wait(60)

    try:
        with pytest.raises(ResticFailed), paused(machine, die):
            back_up(console, cluster)
    finally:
        cluster.start()
    assert_no_point(console, cluster)


def test_a_tablespace_that_is_made_meanwhile_fails_the_copy(
    console: Console, machine: Device, cluster: Cluster, elsewhere: Path
) -> None:
    """Replaying its making would write where the original lies."""
    new = own(elsewhere / "new")
    try:
        with (
            pytest.raises(ResticFailed) as failed,
            paused(machine, lambda: cluster.sql(f"create tablespace new location '{new}'")),
        ):
            back_up(console, cluster)
    finally:
        cluster.sql("drop tablespace if exists new")
    assert "a tablespace was made" in failed.value.detail
    assert_no_point(console, cluster)


def test_a_file_that_cannot_be_read_fails_the_copy_and_is_named(console: Console, cluster: Cluster) -> None:
    secret = cluster.data / "of-root"
    secret.touch(mode=0o600)
    try:
        with pytest.raises(ResticFailed) as failed:
            back_up(console, cluster)
    finally:
        secret.unlink()
    assert "of-root" in failed.value.detail
    assert_no_point(console, cluster)


def test_a_folder_that_somebody_moved_by_hand_fails_the_copy(
    console: Console, cluster: Cluster, elsewhere: Path
) -> None:
    moved = own(elsewhere / "moved")
    link = cluster.data / "base" / "hand"
    link.symlink_to(moved)
    try:
        with pytest.raises(ResticFailed) as failed:
            back_up(console, cluster)
    finally:
        link.unlink()
    assert "base/hand is a link" in failed.value.detail
    assert_no_point(console, cluster)
