"""PostgreSQL where no snapshot is possible, where somebody lies, and copies that must be found to be torn."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.applications import read_instances
from agents.commands import Command, Result
from agents.errors import CommandFailed, PlanRefused
from agents.events import Consistency
from agents.facts import DeviceFacts, Instance, read_facts
from agents.plan import SourceRequest
from tests.live.flows import Console
from tests.live.ground import Device, wait_until
from tests.live.pgbench import amcheck, is_whole, load, prepare
from tests.live.postgresql import Cluster, as_postgres, own


class Here:
    """Runs commands on this machine, with the environment that a device's runner gives."""

    def run(self, command: Command, *, timeout_s: float = 60.0, check: bool = True) -> Result:
        words = [
            "env",
            "-i",
            f"PATH={os.environ['PATH']}:/usr/sbin:/sbin",
            "HOME=/root",
            "LC_ALL=C",
            *command.argv,
        ]
        done = subprocess.run(words, capture_output=True, timeout=timeout_s)
        if check and done.returncode != 0:
            raise CommandFailed(command.argv[0], detail=done.stderr.decode())
        return Result(command, done.returncode, done.stdout, done.stderr)


def look() -> DeviceFacts:
    return read_instances(Here(), read_facts(Here()), ["postgresql"])


def find(facts: DeviceFacts, directory: Path) -> Instance:
    instance = facts.instance("postgresql", str(directory))
    assert instance is not None, [each.name for each in facts.instances]
    return instance


@pytest.fixture
def folder(live_ground: None) -> Iterator[Path]:
    """A folder that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="hotfleet-pgx-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_torn_copy_starts_and_is_found_out(folder: Path) -> None:
    """The negative control: what checks our copies must be able to fail, and checksums are not enough."""
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
        # the walk read two files early, and pg_control, the WAL and every other file after a checkpoint
        late = [f"--exclude={each}" for each in (*early, "./postmaster.pid")]
        as_postgres("sh", "-c", walk, "sh", cluster.data, copy, *late)
        (copy / "postmaster.pid").unlink()
    with Cluster(copy) as torn:
        assert not is_whole(torn)
        checked = amcheck(torn)
        assert checked.returncode != 0
        assert "lacks matching index tuple" in checked.stdout
    checked = as_postgres(Cluster.binaries / "pg_checksums", "--check", "-D", copy)
    assert "Bad checksums:  0" in checked.stdout


def test_a_naive_copy_is_never_called_consistent(device: Device, tmp_path: Path) -> None:
    console = Console(device, tmp_path)
    plain = device.make_file_system("ext4", size_mb=512)
    plain.chmod(0o755)
    with Cluster(plain / "data").create() as cluster:
        prepare(cluster, scale=1)
        with load(cluster, clients=2):
            files = SourceRequest(str(cluster.data), if_hot_impossible="accept-live")
            database = SourceRequest(application="postgresql", instance=str(cluster.data))
            outcome = console.back_up(files, database)
        naive, stream = outcome.points
        assert naive.consistency is Consistency.NONE
        assert (stream.method, stream.consistency) == ("stream", Consistency.APPLICATION)
        assert any("No snapshot" in said and "ext4" in said for said in console.sentences)


def test_a_tablespace_elsewhere_leaves_the_copy_and_says_why(device: Device, tmp_path: Path) -> None:
    console = Console(device, tmp_path)
    device.btrfs.chmod(0o755)
    other = device.make_file_system("ext4", size_mb=256)
    other.chmod(0o755)
    with Cluster(device.btrfs / "data").create() as cluster:
        space = own(other / "space")
        cluster.sql(f"create tablespace elsewhere location '{space}'")
        instance = find(look(), cluster.data)
        assert instance.places == (str(cluster.data), str(space))
        for method, why in (("snapshot", "ext4"), ("stream", "tablespaces")):
            with pytest.raises(PlanRefused) as refused:
                console.back_up(
                    SourceRequest(application="postgresql", instance=instance.name, method=method)
                )
            assert why in refused.value.message
        outcome = console.back_up(SourceRequest(application="postgresql", instance=instance.name))
        assert {point.method for point in outcome.points} == {"copy"}


def test_wal_and_mounts_inside_are_places_of_their_own(device: Device) -> None:
    device.btrfs.chmod(0o755)
    other = device.make_file_system("ext4", size_mb=256)
    other.chmod(0o755)
    data = device.btrfs / "data"
    with Cluster(data).create("--waldir", str(own(other / "wal"))):
        mounted = data / "base" / "mounted"
        mounted.mkdir()
        subprocess.run(["mount", "--bind", other, mounted], check=True)
        try:
            places = find(look(), data).places
        finally:
            subprocess.run(["umount", mounted], check=True)
        assert set(places) == {str(data), str(other / "wal"), str(mounted)}


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_server_that_hangs_is_left_and_others_are_asked(folder: Path) -> None:
    with Cluster(folder / "a").create() as hung, Cluster(folder / "b").create() as well, stopped(hung.pid):
        facts = look()  # waits for no more than its time
        instance = find(facts, hung.data)
        assert instance.is_running
        assert "could not be asked" in instance.problems[0]
        assert find(facts, well.data).problems == ()


def debians_own() -> Instance:
    """The cluster that Debian's package made, whether it runs here or not."""
    (instance,) = [each for each in look().instances if each.name == "15/main"]
    return instance


def test_a_cluster_is_found_where_debian_keeps_it(live_ground: None) -> None:
    instance = debians_own()
    listed = subprocess.run(["pg_lsclusters", "-h"], capture_output=True, text=True, check=True).stdout
    assert instance.is_running == ("online" in listed)
    assert instance.places == ("/var/lib/postgresql/15/main",)
    assert instance.version.startswith("15")


def test_a_liar_speaks_for_nobody_but_itself(folder: Path) -> None:
    """A user starts something called postgres, with a psql of its own that prints what we would print."""
    home = folder / "liar"
    home.mkdir()
    (home / "PG_VERSION").write_text("15\n")
    shutil.copy("/bin/sleep", home / "postgres")
    psql = home / "psql"
    forged = r"printf '\0\0cluster\0/var/lib/postgresql/15/main\0%s\0owner\0root\0\0' 1"
    psql.write_text(f"#!/bin/sh\nid -u >>{home}/ids\n{forged}\n")
    psql.chmod(0o755)
    subprocess.run(["chown", "-R", "nobody", home], check=True)
    words = [
        "setpriv",
        "--reuid",
        "nobody",
        "--regid",
        "nogroup",
        "--clear-groups",
        str(home / "postgres"),
        "60",
    ]
    honest = debians_own()
    at_home, at_root = (subprocess.Popen(words, cwd=place) for place in (home, "/root"))
    try:
        (home / "postmaster.pid").write_text(f"{at_home.pid}\n{home}\n0\n5432\n{home}\n")
        wait_until(lambda: Path(f"/proc/{at_root.pid}/comm").read_text() == "postgres\n", what="the liars")
        facts = look()
        liar = find(facts, home)
        assert "cannot be understood" in liar.problems[0]
        assert dict((each.name, each.value) for each in liar.details) == {
            "data": str(home),
            "owner": "nobody",
        }
        assert facts.instance("postgresql", "/root") is None
        assert facts.instance("postgresql", "15/main") == honest
    finally:
        for process in (at_home, at_root):
            process.kill()
            process.wait(60)
    nobody = str(home.stat().st_uid)
    assert set((home / "ids").read_text().split()) == {nobody}


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder: Path) -> None:
    with Cluster(folder / "data").create() as cluster:
        kept = (cluster.data / "postmaster.pid").read_bytes()
        (cluster.data / "postmaster.pid").unlink()
        os.mkfifo(cluster.data / "postmaster.pid")
        shutil.chown(cluster.data / "postmaster.pid", "postgres")
        try:
            problems = find(look(), cluster.data).problems
            assert "did not answer in time" in problems[0]
        finally:
            (cluster.data / "postmaster.pid").unlink()
            (cluster.data / "postmaster.pid").write_bytes(kept)
            shutil.chown(cluster.data / "postmaster.pid", "postgres")
