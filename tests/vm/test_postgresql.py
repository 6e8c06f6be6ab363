"""PostgreSQL as most servers have it: Debian's package, systemd, XFS on LVM. Copies are started again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from agents.errors import PlanRefused
from agents.events import Consistency, Froze
from agents.plan import SourceRequest
from agents.plan.requests import Mode
from agents.storing import Point
from tests.live.flows import Console
from tests.vm.machine import UNPAUSED, Vm
from tests.vm.traces import wait_until_clean

_AS_POSTGRES = "runuser -u postgres --"
_BIN = "/usr/lib/postgresql/15/bin"
_SUMS = """
select (select sum(abalance) from pgbench_accounts) = (select sum(bbalance) from pgbench_branches)
   and (select sum(abalance) from pgbench_accounts) = (select sum(tbalance) from pgbench_tellers)
   and (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history)
"""
_TARGET = "/srv/xfs/restored"
# Debian keeps the configuration elsewhere: the copy gets one of its own.
_START = f"""
cd / && rm -rf /run/restored && install -d -o postgres -m 0700 /run/restored
chown postgres {_TARGET} && chmod 0700 {_TARGET}
echo "local all all peer" >{_TARGET}/pg_hba.conf && : >{_TARGET}/pg_ident.conf
printf '%s\\n' "listen_addresses = ''" "unix_socket_directories = '/run/restored'" >{_TARGET}/postgresql.conf
{_AS_POSTGRES} {_BIN}/pg_ctl -s -w -t 240 -D {_TARGET} -l /run/restored/log start || cat /run/restored/log >&2
"""
_END = f"cd / && {_AS_POSTGRES} {_BIN}/pg_ctl -s -w -m immediate -D {_TARGET} stop; rm -rf {_TARGET}"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One of the two that the machine has."""

    name: str
    port: int
    data: str

    @property
    def unit(self) -> str:
        return f"postgresql@{self.name.replace('/', '-')}"


CLASSIC = Cluster("15/main", 5432, "/srv/xfs/postgresql/main")
THIN = Cluster("15/thin", 5433, "/srv/thin/postgresql/thin")


def source(name: str, mode: Mode = "hot") -> SourceRequest:
    # What is emulated, beside other work, is slow.
    return SourceRequest(
        application="postgresql",
        instance=name,
        mode=mode,
        longest_downtime_s=300,
        longest_freeze_ms=60_000,
    )


def back_up(console: Console, request: SourceRequest) -> Point:
    """Back it up. A machine that is too busy to be asked in time refuses that, as it should: later then."""
    for _ in range(5):
        try:
            (point,) = console.back_up(request, limits=UNPAUSED).points
            return point
        except PlanRefused as error:
            if "could not be asked" not in error.message:
                raise
            time.sleep(15)
    raise AssertionError("the machine was never asked in time")


def sql(vm: Vm, query: str, *, port: int = 5432, place: str = "/run/postgresql") -> str:
    words = f"{_AS_POSTGRES} psql -X -At -h {place} -p {port} -d bench -c '{query}'"
    return vm.run(words, timeout_s=240).strip()


@pytest.fixture
def cluster(vm: Vm, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster that runs, with a database of pgbench."""
    cluster: Cluster = getattr(request, "param", CLASSIC)
    port = f"-p {cluster.port}"
    vm.run(f"systemctl start {cluster.unit}", timeout_s=240)
    make = f"{_AS_POSTGRES} createdb {port} bench && {_AS_POSTGRES} {_BIN}/pgbench {port} -i -q bench"
    vm.run(f"cd / && {make}", timeout_s=240)
    yield cluster
    vm.run(f"cd / && {_AS_POSTGRES} dropdb {port} -f bench")
    if cluster is not CLASSIC:
        vm.run(f"systemctl stop {cluster.unit}", timeout_s=120)


@contextmanager
def writers(vm: Vm, cluster: Cluster) -> Iterator[None]:
    """Write at a steady rate until the end of the context, and let nobody notice anything."""
    words = f"{_BIN}/pgbench -p {cluster.port} -n -c 2 -R 20 -T 3600 -P 5 bench"
    output = "-p StandardOutput=file:/run/pgbench.log -p StandardError=file:/run/pgbench.log"
    vm.run(f"rm -f /run/pgbench.log; systemd-run -q --unit=pgbench -p User=postgres {output} {words}")
    try:
        yield
        assert vm.run("systemctl is-active pgbench", check=False).strip() == "active"
    finally:
        vm.run("systemctl stop pgbench; systemctl reset-failed pgbench", check=False)
    said = vm.run("cat /run/pgbench.log")
    assert "progress" in said
    assert not any(word in said.lower() for word in ("error", "abort", "fatal", "lost")), said


@contextmanager
def restored(vm: Vm, console: Console, point: Point, data: str) -> Iterator[None]:
    """The copy, started on a socket of its own."""
    assert console.restore(point.restic_id, data, _TARGET).is_complete
    try:
        vm.run(_START, timeout_s=300)
        yield
    finally:
        vm.run(_END, timeout_s=120, check=False)


def assert_whole(vm: Vm) -> int:
    assert sql(vm, _SUMS, place="/run/restored") == "t"
    checked = (
        f"cd / && {_AS_POSTGRES} {_BIN}/pg_amcheck -h /run/restored --install-missing --heapallindexed bench"
    )
    vm.run(checked, timeout_s=300)
    return int(sql(vm, "select count(*) from pgbench_history", place="/run/restored"))


@pytest.mark.parametrize(
    "cluster",
    [pytest.param(CLASSIC, id="classic"), pytest.param(THIN, id="thin", marks=pytest.mark.full)],
    indirect=True,
)
def test_a_hot_snapshot_of_xfs_on_lvm_starts_whole_and_no_writer_notices(
    vm: Vm, console: Console, cluster: Cluster
) -> None:
    with writers(vm, cluster):
        point = back_up(console, source(cluster.name))
    assert (point.method, point.consistency) == ("snapshot+lvm", Consistency.APPLICATION)
    (freeze,) = [event for event in console.events if isinstance(event, Froze)]
    assert not freeze.is_stop
    print(f"\nPostgreSQL {cluster.name} on LVM: frozen for {freeze.milliseconds:.0f} ms at most (emulated)")
    assert any(f"/etc/postgresql/{cluster.name} as files" in said for said in console.sentences)
    wait_until_clean(vm, console.id, timeout_s=60)
    with restored(vm, console, point, cluster.data):
        assert 0 < assert_whole(vm) <= int(sql(vm, "select count(*) from pgbench_history", port=cluster.port))


@pytest.mark.full
def test_a_cold_backup_stops_the_service_and_starts_it_again(
    vm: Vm, console: Console, cluster: Cluster
) -> None:
    vm.run(f"cd / && {_AS_POSTGRES} pgbench -n -t 50 bench", timeout_s=120)
    before = vm.run(f"systemctl show -p MainPID --value {cluster.unit}").strip()
    point = back_up(console, source(cluster.name, "cold"))
    assert (point.method, point.consistency) == ("cold+lvm", Consistency.APPLICATION)
    (stop,) = [event for event in console.events if isinstance(event, Froze)]
    assert stop.is_stop
    print(f"\nPostgreSQL cold on LVM and XFS: stopped for {stop.milliseconds:.0f} ms (emulated machine)")
    assert vm.run(f"systemctl is-active {cluster.unit}").strip() == "active"
    assert vm.run(f"systemctl show -p MainPID --value {cluster.unit}").strip() != before
    assert sql(vm, _SUMS) == "t"
    wait_until_clean(vm, console.id, timeout_s=60)
    assert console.restore(point.restic_id, cluster.data, _TARGET).is_complete
    state = vm.run(f"{_BIN}/pg_controldata {_TARGET}; rm -rf {_TARGET}")
    assert "Database cluster state:               shut down" in state


@pytest.mark.full
def test_a_cluster_that_does_not_run_is_read_and_not_started(vm: Vm, console: Console) -> None:
    assert vm.run(f"systemctl is-active {THIN.unit}", check=False).strip() == "inactive"
    point = back_up(console, source(THIN.name))
    assert (point.method, point.consistency) == ("cold+lvm", Consistency.APPLICATION)
    assert vm.run(f"systemctl is-active {THIN.unit}", check=False).strip() == "inactive"
