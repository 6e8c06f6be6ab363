"""Each application that can be drilled, on a device, while somebody writes into it: what its instance is."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.live import etcd, mariadb, openldap, pgbench
from tests.live import redis_server as redis
from tests.live.ground import Device, command, wait_until
from tests.live.postgresql import Cluster


@contextmanager
def postgresql_under_load(device: Device) -> Iterator[Path]:
    with Cluster(device.btrfs / "data").create() as cluster:
        pgbench.prepare(cluster, scale=1)
        with pgbench.load(cluster, clients=2):
            yield cluster.data


@contextmanager
def mariadb_under_load(device: Device) -> Iterator[Path]:
    command("btrfs", "subvolume", "create", device.btrfs / "my")
    with mariadb.Server(device.btrfs / "my").create() as server, ExitStack() as stack:
        writer = stack.enter_context(mariadb.Writer(server, 0, mariadb.ENGINES))
        wait_until(lambda: writer.count > 5 or bool(writer.trouble), timeout_s=60, what="the first rows")
        yield server.data
        assert writer.trouble == ""


@contextmanager
def redis_under_load(device: Device) -> Iterator[Path]:
    path = device.btrfs / "redis"
    command("btrfs", "subvolume", "create", path)
    shutil.chown(path, "redis", "redis")
    with redis.Server(path, "--appendonly", "yes") as server, redis.writers(server):
        yield server.socket


@contextmanager
def openldap_under_load(device: Device) -> Iterator[Path]:
    slapd = openldap.Slapd(device.btrfs / "ldap").create()
    slapd.start()
    writer = openldap.Writer(slapd)
    writer.start()
    try:
        wait_until(lambda: writer.count >= 200, timeout_s=180, what="the first accounts")
        yield slapd.config
    finally:
        writer.ended.set()
        writer.join()
        slapd.stop()


@contextmanager
def etcd_under_load(device: Device) -> Iterator[Path]:
    member = etcd.Member(device.btrfs / "etcd", device.namespace)
    member.start()
    writer = etcd.Writer(member)
    writer.start()
    try:
        wait_until(lambda: writer.count >= 20 or bool(writer.errors), timeout_s=120, what="transactions")
        yield member.data
    finally:
        writer.ended.set()
        writer.join()
        member.stop()
    assert writer.errors == []


@contextmanager
def sqlite_under_load(device: Device) -> Iterator[Path]:
    path = device.btrfs / "app" / "app.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table account (id integer primary key, name text)")
        database.execute("create index by_name on account (name)")
        names = [(number, f"name {number} {'x' * 200}") for number in range(5000)]
        database.executemany("insert into account values (?, ?)", names)
        database.commit()
        database.execute("insert into account values (6000, 'not committed')")
        yield path


UNDER_LOAD = {
    "sqlite": sqlite_under_load,
    "postgresql": postgresql_under_load,
    "mariadb": mariadb_under_load,
    "redis": redis_under_load,
    "openldap": openldap_under_load,
    "etcd": etcd_under_load,
}
