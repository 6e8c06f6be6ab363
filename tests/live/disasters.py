"""Applications on a device whose data is destroyed: each under writers that leave an invariant.

Given a device and a folder for what is noted, each function starts one and ends it; between the two it is
what `Application` says."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live import etcd, mariadb, openldap, pgbench, postgresql, redis_server, sqlite_file
from tests.live.daemons import kill
from tests.live.ground import Device, command, wait_until

_PATIENCE_S = 180.0


@dataclass(frozen=True)
class Application:
    """`name` and `instance` are its key, `service` stops and starts it ("" none does).

    `busy` gives its writers, and afterwards nothing went wrong for them. `add` writes something younger than
    the backup. `destroy` removes all of its data while it runs; `find_faults` looks at the server that runs
    then: is everything there that was written before the backup, is it whole, is the younger thing gone.
    `stop` ends it. `folder` is that in which its data lies, with nothing else of it."""

    name: str
    instance: Path
    service: str
    folder: Path
    busy: Callable[[], AbstractContextManager[None]]
    add: Callable[[], None]
    destroy: Callable[[], None]
    find_faults: Callable[[], list[str]]
    stop: Callable[[], None]


def remove(*paths: Path) -> None:
    """As a person does it who is in the wrong directory."""
    subprocess.run(["rm", "-rf", "--", *paths], check=True)


def _remove_under(pid: int, *paths: Path) -> None:
    """Remove the data of a server that runs, and the server, which goes on writing into what is gone."""
    kill(pid)
    remove(*paths)


@contextmanager
def run_sqlite(device: Device, state: Path, method: str) -> Iterator[Application]:
    path = sqlite_file.make_database(device, "wal")
    least: dict[int, int] = {}

    @contextmanager
    def busy() -> Iterator[None]:
        with sqlite_file.writers(path) as found:
            least.update({each.number: each.count for each in found})
            yield

    def add() -> None:
        with closing(sqlite_file.connect(path)) as database:
            database.execute("create table younger (n int)")

    def find_faults() -> list[str]:
        faults = sqlite_file.find_faults(path, least)
        with closing(sqlite_file.connect(path)) as database:
            tables = [row[0] for row in database.execute("select name from sqlite_master")]
        # Its writers are nobody's, and make a journal beside it.
        sqlite_file.write_as_owner(path, "create table after (n int)")
        return faults + ["what is younger is there"] * ("younger" in tables)

    def destroy() -> None:
        remove(path.parent)

    yield Application(
        "sqlite", path, "", device.btrfs, busy, add, destroy, find_faults, lambda: None
    )  # fmt: skip


@contextmanager
def run_redis(device: Device, state: Path, method: str) -> Iterator[Application]:
    data = device.btrfs / "re dis"
    command("btrfs", "subvolume", "create", data)
    shutil.chown(data, "redis", "redis")
    least: dict[int, int] = {}
    with redis_server.Service(data, state, f"hotfleet-rd-{device.name}", "--appendonly", "yes") as service:

        @contextmanager
        def busy() -> Iterator[None]:
            with redis_server.writers(service) as found:
                least.update({each.number: each.count for each in found})
                yield

        def find_faults() -> list[str]:
            service.wait()
            is_younger = service.connect().get("younger") is not None
            return redis_server.find_faults(service, least) + ["what is younger is there"] * is_younger

        def add() -> None:
            service.connect().set("younger", "1")

        yield Application(
            "redis", service.socket, service.daemon.name, device.btrfs, busy,
            add,
            lambda: _remove_under(service.daemon.pid, data),
            find_faults, lambda: _stop(service.daemon.call("stop")),
        )  # fmt: skip


@contextmanager
def run_mariadb(device: Device, state: Path, method: str) -> Iterator[Application]:
    home = device.btrfs / "my sql"
    command("btrfs", "subvolume", "create", home)
    least: dict[int, int] = {}
    with mariadb.Service(home, state, f"hotfleet-my-{device.name}").create() as service:
        # A snapshot holds the binary log too; a stream does not, and the log stays on its own disk.
        gone = (service.data, home / "binlog") if method == "snapshot" else (service.data,)

        @contextmanager
        def busy() -> Iterator[None]:
            with mariadb.writers(service) as found:
                least.update({each.number: each.count for each in found})
                yield

        def find_faults() -> list[str]:
            service.wait()
            is_younger = "younger" in service.sql("show tables in app")
            return mariadb.find_faults(service, least) + ["what is younger is there"] * is_younger

        def add() -> None:
            service.sql("create table app.younger (n int)")

        yield Application(
            "mariadb", service.data, service.daemon.name, home, busy, add,
            lambda: _remove_under(service.daemon.pid, *gone),
            find_faults, lambda: _stop(service.daemon.call("stop")),
        )  # fmt: skip


@contextmanager
def run_postgresql(device: Device, state: Path, method: str) -> Iterator[Application]:
    device.btrfs.chmod(0o755)
    device.directory.chmod(0o755)
    data = device.btrfs / "da ta"
    service = postgresql.Service(data, state, f"hotfleet-pg-{device.name}", "logging_collector=on")
    service.create()
    least = [0]
    with service:
        pgbench.prepare(service, scale=1)

        @contextmanager
        def busy() -> Iterator[None]:
            with pgbench.load(service):
                wait_until(
                    lambda: pgbench.count_writes(service) > 10, timeout_s=_PATIENCE_S, what="the first writes"
                )
                least[0] = pgbench.count_writes(service)
                yield

        def find_faults() -> list[str]:
            service.wait()
            count = pgbench.assert_whole(service)
            faults = [f"{count} of {least[0]} transactions are there"] * (count < least[0])
            if service.sql("select to_regclass('younger') is null") != "t":
                faults.append("what is younger is there")
            return faults

        def add() -> None:
            service.sql("create table younger as select 1 n")

        yield Application(
            "postgresql", data, service.daemon.name, device.btrfs, busy, add,
            lambda: postgresql.destroy(service), find_faults, service.stop,
        )  # fmt: skip


@contextmanager
def run_openldap(device: Device, state: Path, method: str) -> Iterator[Application]:
    service = openldap.Service(device.btrfs / "ldap", state, f"hotfleet-ldap-{device.name}")
    service.create()
    # A snapshot holds the configuration too; streams of entries are read by the one that is there.
    gone = (service.data, service.config) if method == "snapshot" else (service.data,)
    least = [0]
    service.start()

    @contextmanager
    def busy() -> Iterator[None]:
        with _thread(openldap.Writer(service), least, more_than=50):
            yield

    def add() -> None:
        service.client("ldapadd", ldif=_YOUNGER)

    def find_faults() -> list[str]:
        service.wait()
        found, broken = service.count_broken()
        faults = [f"{found} of {least[0]} entries are there, {broken} broken"] * (
            found < least[0] or broken > 0
        )
        if "younger" in service.client("ldapsearch", "-LLL", "-b", "dc=example,dc=org", "(cn=younger)", "cn"):
            faults.append("what is younger is there")
        return faults

    try:
        yield Application(
            "openldap", service.config, service.daemon.name, service.data.parent, busy, add,
            lambda: _remove_under(service.daemon.pid, *gone),
            find_faults, lambda: _stop(service.daemon.call("stop")),
        )  # fmt: skip
    finally:
        service.stop()


_YOUNGER = "dn: cn=younger,dc=example,dc=org\nobjectClass: person\ncn: younger\nsn: 0\n"


@contextmanager
def run_etcd(device: Device, state: Path, method: str) -> Iterator[Application]:
    service = etcd.Service(device.btrfs / "etcd", device.namespace, state, f"hotfleet-etcd-{device.name}")
    least = [0]
    service.start()

    @contextmanager
    def busy() -> Iterator[None]:
        with _thread(etcd.Writer(service), least, more_than=10):
            yield

    def add() -> None:
        service.client("put", "younger", "1")

    def find_faults() -> list[str]:
        service.wait()
        first, second = service.read_pair()
        faults = [f"{first} and {second} are there, {least[0]} were"] * (first != second or first < least[0])
        if service.client("get", "younger").stdout:
            faults.append("what is younger is there")
        return faults

    try:
        yield Application(
            "etcd", service.data, service.daemon.name, service.folder, busy, add,
            lambda: _remove_under(service.daemon.pid, service.data),
            find_faults, lambda: _stop(service.daemon.call("stop")),
        )  # fmt: skip
    finally:
        service.stop()


def _stop(status: int) -> None:
    assert status == 0, "it could not be stopped"


@contextmanager
def _thread(writer: etcd.Writer | openldap.Writer, least: list[int], *, more_than: int) -> Iterator[None]:
    """A writer that works meanwhile; `least` is what it had written before."""
    writer.start()
    try:
        wait_until(
            lambda: writer.count > more_than or bool(writer.errors),
            timeout_s=_PATIENCE_S,
            what="what is written first",
        )
        least[0] = writer.count
        yield
    finally:
        writer.ended.set()
        writer.join()
    assert writer.errors == []


RUN: dict[str, Callable[[Device, Path, str], AbstractContextManager[Application]]] = {
    "sqlite": run_sqlite,
    "redis": run_redis,
    "mariadb": run_mariadb,
    "postgresql": run_postgresql,
    "openldap": run_openldap,
    "etcd": run_etcd,
}
