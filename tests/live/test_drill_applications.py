"""Drills of MariaDB, Redis, OpenLDAP and etcd under writers, and what each must find. About five minutes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agents.applications.stored import Stored
from agents.applications.trials import Question
from agents.plan import SourceRequest
from tests.live import etcd, openldap
from tests.live import redis_server as redis
from tests.live.drills import DeviceProver, Prover, assert_proven, full_only, say, stored_of
from tests.live.flows import assert_device_is_clean
from tests.live.ground import Device, command, wait_until
from tests.live.mariadb import ENGINES, Server, Writer


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Prover:
    device.directory.chmod(0o755)
    return Prover(device, tmp_path)


def flip(path: Path, at: float, length: int = 64) -> None:
    """Change bytes at this part of a file."""
    offset = int(path.stat().st_size * at)
    with path.open("r+b") as file:
        file.seek(offset)
        old = file.read(length)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in old))


def tear(early: bytes, late: bytes) -> bytes:
    """Return what a copy of a file that is written meanwhile holds: the first half early, the rest late."""
    half = len(early.rstrip(b"\0")) // 2 // 4096 * 4096
    return early[:half] + late[half:]


def assert_found(console: Prover | DeviceProver, stored: Stored, *questions: Question) -> str:
    """A drill of it fails, in the trial and not in the restore; return what was said."""
    evidence = console.drill(stored, *questions, sample=0)
    assert not evidence.is_passed, say(evidence.checks)
    assert {"restore", "manifest"} & {check.name for check in evidence.failures} == set()
    return say(evidence.failures)


# ---- MariaDB

MARIA_ROWS = Question("select count(*) from InnoDB", ">", "0", "app")
MARIA_SUM = Question("select sum(balance) from app.account", "=", "20000")


@pytest.fixture
def server(device: Device) -> Iterator[Server]:
    home = device.btrfs / "my sql"
    command("btrfs", "subvolume", "create", home)
    with Server(home).create() as server:
        yield server


@contextmanager
def writers(server: Server) -> Iterator[None]:
    with ExitStack() as stack:
        found = [stack.enter_context(Writer(server, number, ENGINES)) for number in range(2)]
        wait_until(lambda: all(each.count > 5 or each.trouble for each in found), what="the first rows")
        yield
    assert [each.trouble for each in found] == ["", ""]


def maria(server: Server, method: str) -> SourceRequest:
    return SourceRequest(application="mariadb", instance=str(server.data), method=method)


@pytest.mark.parametrize(
    "method", ["stream", *(pytest.param(each, marks=full_only) for each in ("snapshot", "dump"))]
)
def test_mariadb_under_writers_is_proven(console: Prover, server: Server, method: str) -> None:
    with writers(server):
        outcome = console.back_up(maria(server, method))
    stored = stored_of(outcome, "mariadb", str(server.data))
    evidence = console.drill(stored, MARIA_ROWS, MARIA_SUM)
    assert_proven(evidence, "start", "CHECK TABLE", "question 1", "question 2")
    assert_device_is_clean(console)
    if method == "stream":
        half = console.device.btrfs / "backup.xbstream"
        whole = console.read(stored, half.name)
        half.write_bytes(whole[: len(whole) // 2])
        assert "not whole" in assert_found(console, console.store_stream(half, "mariadb", "stream"))
    if method == "dump":
        half = console.device.btrfs / "all-databases.sql"
        whole = console.read(stored, half.name)
        half.write_bytes(whole[: len(whole) // 2])
        assert "end of the dump" in assert_found(console, console.store_stream(half, "mariadb", "dump"))


def test_mariadb_that_is_broken_torn_or_empty_is_refuted(console: Prover, server: Server) -> None:
    with writers(server):
        bare = replace(stored_of(console.back_up(server.home), "mariadb", ""), method="bare")
    assert "MyISAM" in assert_found(console, bare)
    server.sql("delete from app.InnoDB")
    server.stop()
    stored = console.store(server.home, "mariadb", "cold")
    assert "question 1" in assert_found(console, stored, MARIA_ROWS)
    flip(server.data / "app" / "account.ibd", 0.55, 2000)
    flip(server.data / "app" / "Aria.MAD", 0.5, 2000)
    assert "CHECK TABLE" in assert_found(console, console.store(server.home, "mariadb", "cold"))
    shutil.rmtree(server.data)
    assert "ibdata1" in assert_found(console, console.store(server.home, "mariadb", "cold"))


# ---- Redis

REDIS_LOG = Question("get count:0", ">", "0")


@pytest.fixture
def redis_server(device: Device) -> Iterator[redis.Server]:
    path = device.btrfs / "re dis"
    command("btrfs", "subvolume", "create", path)
    shutil.chown(path, "redis", "redis")
    with redis.Server(path, "--appendonly", "yes") as server:
        yield server


@pytest.mark.parametrize("method", ["stream", pytest.param("snapshot", marks=full_only)])
def test_redis_under_writers_is_proven(console: Prover, redis_server: redis.Server, method: str) -> None:
    with redis.writers(redis_server):
        outcome = console.back_up(redis.request_for(redis_server, method))
    stored = stored_of(outcome, "redis", str(redis_server.socket), redis_server.data)
    evidence = console.drill(stored, REDIS_LOG, Question("get count:1", ">", "0", "0"))
    assert_proven(evidence, "redis-check-rdb", "start", "keys", "question 1")
    assert_device_is_clean(console)
    if method == "stream":
        bad = console.device.btrfs / "dump.rdb"
        bad.write_bytes(console.read(stored, bad.name)[:-100])
        assert "start" in assert_found(console, console.store_stream(bad, "redis", "stream"))
        bad.write_bytes(console.read(stored, bad.name))
        flip(bad, 0.5)
        assert "redis-check-rdb" in assert_found(console, console.store_stream(bad, "redis", "stream"))


@full_only
def test_redis_that_is_broken_torn_or_empty_is_refuted(console: Prover, redis_server: redis.Server) -> None:
    with redis.writers(redis_server):
        # a copy that was made while the file was rewritten: the parts that its list names are not all there
        torn = console.device.btrfs / "torn"
        shutil.copytree(redis_server.data, torn)
    next(torn.rglob("*.incr.aof")).unlink()
    assert "start" in assert_found(console, console.store(torn, "redis", "snapshot"))
    redis_server.connect().flushall()
    stored = console.store(redis_server.data, "redis", "snapshot")
    assert "question 1" in assert_found(console, stored, REDIS_LOG)
    with redis.writers(redis_server):
        pass
    flip(next(redis_server.data.rglob("*.incr.aof")), 0.5, 4000)  # more than one value
    assert "start" in assert_found(console, console.store(redis_server.data, "redis", "snapshot"))
    shutil.rmtree(redis_server.data)
    redis_server.data.mkdir()
    (redis_server.data / "other").write_text("x")
    assert "neither" in assert_found(console, console.store(redis_server.data, "redis", "snapshot"))


# ---- OpenLDAP

ENTRIES = Question("(objectClass=person)", ">", "100", "dc=example,dc=org")


@pytest.fixture
def slapd(device: Device) -> Iterator[openldap.Slapd]:
    slapd = openldap.Slapd(device.btrfs / "ldap").create()
    slapd.start()
    yield slapd
    slapd.stop()


@pytest.mark.parametrize("method", ["stream", pytest.param("snapshot", marks=full_only)])
def test_openldap_is_proven_and_refuted(console: Prover, slapd: openldap.Slapd, method: str) -> None:
    writer = openldap.Writer(slapd)
    writer.start()
    try:
        wait_until(lambda: writer.count >= 200, timeout_s=180, what="the first accounts")
        source = SourceRequest(application="openldap", instance=str(slapd.config), method=method)
        outcome = console.back_up(source)
    finally:
        writer.ended.set()
        writer.join()
    stored = stored_of(outcome, "openldap", str(slapd.config), slapd.config, slapd.data)
    assert_proven(
        console.drill(stored, ENTRIES), "configuration", "entries", "slapadd", "start", "question 1"
    )
    assert_device_is_clean(console)
    slapd.stop(signal.SIGKILL)
    home = slapd.data.parent
    if method == "snapshot":
        flip(slapd.data / "data.mdb", 0.0005, 400_000)  # the file is sparse, and mostly a hole
        broken = console.store(home, "openldap", "snapshot", instance=str(slapd.config))
        assert_found(console, broken)
        shutil.rmtree(slapd.data)
        slapd.data.mkdir()
        empty = console.store(home, "openldap", "snapshot", instance=str(slapd.config))
        assert_found(console, empty)


def write_until(slapd: openldap.Slapd, entries: int) -> None:
    """Write another thousand, up to so many."""
    writer = openldap.Writer(slapd)
    writer.count = entries - 1000
    writer.start()
    wait_until(lambda: writer.count >= entries or bool(writer.errors), timeout_s=180, what="accounts")
    writer.ended.set()
    writer.join()
    assert writer.errors == []


@full_only
def test_openldap_torn_under_its_writer_is_refuted(console: Prover, slapd: openldap.Slapd) -> None:
    early = b""
    for entries in (1000, 4000):
        write_until(slapd, entries)
        early = early or (slapd.data / "data.mdb").read_bytes()
    slapd.stop(signal.SIGKILL)
    file = slapd.data / "data.mdb"
    file.write_bytes(tear(early, file.read_bytes()))
    home = slapd.data.parent
    assert_found(console, console.store(home, "openldap", "snapshot", instance=str(slapd.config)))


# ---- etcd


@pytest.fixture
def far(device: Device, tmp_path: Path) -> DeviceProver:
    return DeviceProver(device, tmp_path)


@pytest.mark.parametrize("method", ["stream", pytest.param("snapshot", marks=full_only)])
def test_etcd_is_proven_and_refuted_on_a_drill_device(far: DeviceProver, method: str) -> None:
    member = etcd.Member(far.device.btrfs / "etcd", far.device.namespace)
    member.start()
    writer = etcd.Writer(member)
    writer.start()
    try:
        wait_until(lambda: writer.count >= 20 or bool(writer.errors), timeout_s=60, what="transactions")
        outcome = far.back_up(etcd.request_for(member, method))
    finally:
        writer.ended.set()
        writer.join()
        member.stop()
    stored = stored_of(outcome, "etcd", str(member.data), member.data)
    side = Question("get side-a --print-value-only", ">", "10")
    assert_proven(far.drill(stored, side), "start", "keys", "question 1")
    assert_device_is_clean(far)
    assert "question 1" in assert_found(far, stored, Question("get nobody --print-value-only", ">", "0"))
    if method == "stream":
        bad = far.device.btrfs / "etcd.snapshot"
        bad.write_bytes(far.read(stored, bad.name))
        flip(bad, 0.5)
        assert "snapshot restore" in assert_found(far, far.store_stream(bad, "etcd", "stream"))
    else:
        db = member.data / "member" / "snap" / "db"
        whole = db.read_bytes()
        member.start()
        for number in range(150):
            member.client("put", f"late {number}", text="x" * 20_000)
        member.stop()
        db.write_bytes(tear(whole, db.read_bytes()))
        assert "start" in assert_found(far, far.store(member.data, "etcd", "snapshot"))
        db.write_bytes(whole)
        flip(next((member.data / "member" / "wal").glob("*.wal")), 0.001)
        assert "start" in assert_found(far, far.store(member.data, "etcd", "snapshot"))
        os.unlink(member.data / "member" / "snap" / "db")
        assert "snap/db" in assert_found(far, far.store(member.data, "etcd", "snapshot"))
