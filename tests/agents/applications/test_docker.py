"""Containers: what docker says of them (its documented form; no daemon was asked) and what is made of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.applications import Ground, Patience
from agents.applications.docker import _INSIDES, Docker
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import Instance
from tests.agents.facts.samples import make_facts

CASE = Path(__file__).resolve().parents[2] / "cases" / "docker" / "look.bin"
ATOMIC = Ground(True, "one btrfs snapshot holds all of its files", "btrfs snapshot")


def found() -> dict[str, Instance]:
    return {each.name: each for each in Docker().parse(CASE.read_bytes(), make_facts())}


def test_containers_with_data_are_found_and_those_without_are_not() -> None:
    places = {name: each.places for name, each in found().items()}
    assert places == {
        "shop-db-1": ("/var/lib/docker/volumes/shop_db/_data",),
        "shop-web-1": ("/srv/www",),
        "old": ("/var/lib/docker/volumes/old/_data",),
        "stack_cache.1.abc": ("/var/lib/docker/volumes/cache/_data",),
    }


def test_the_database_inside_is_dumped_by_its_own_program() -> None:
    instance = found()["shop-db-1"]
    offers = Docker().offers(instance, ATOMIC, make_facts())
    assert [(each.method, each.consistency.value) for each in offers] == [
        ("dump", "application"),
        ("snapshot", "crash"),
    ]
    (stream,) = Docker().recipe(instance, "dump", Patience(), "").streams
    assert stream.name == "postgresql.sql"
    assert stream.producer.argv[:6] == ("docker", "exec", "--", "shop-db-1", "sh", "-c")
    with pytest.raises(PlanRefused):
        Docker().recipe(found()["shop-web-1"], "dump", Patience(), "")


@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")])
@pytest.mark.parametrize(("others", "status"), [("0", 0), ("2", 1)])
def test_a_dump_of_tables_without_transactions_fails(
    tmp_path: Path, shell: tuple[str, ...], others: str, status: int
) -> None:
    """They would be read while they change, and the dump is called consistent."""
    for name, line in (("mariadb", f"echo {others}"), ("mariadb-dump", 'echo "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    (script,) = [each.script for each in _INSIDES if "mysqld" in each.processes]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run([*shell, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == status
    assert ("--single-transaction" in done.stdout) == (status == 0)
    assert ("2 tables know no transactions" in done.stderr) == (status == 1)


def test_cold_stops_the_container_that_runs_and_no_other() -> None:
    instances = found()
    cold = Docker().cold(instances["shop-web-1"], make_facts())
    assert cold.quiesce is not None and cold.quiesce.hold.endswith("services_stop container:shop-web-1")
    assert cold.consistency is Consistency.APPLICATION
    stands = Docker().cold(instances["old"], make_facts())
    assert stands.consistency is Consistency.CRASH and "nobody saw how" in stands.notes[-1]
    old = stands.quiesce
    assert old is not None and (old.is_watch, old.is_stop, old.holds) == (True, False, False)
    assert "standing_begin container:old container:old" in old.hold and "services_stop c" not in old.hold
    with pytest.raises(PlanRefused, match="no service is known"):
        Docker().cold(instances["stack_cache.1.abc"], make_facts())


GOOD = '{"name":"/a","image":"i","running":true,"paused":false,"mounts":[],"swarm":""}'


@pytest.mark.parametrize(
    "seen",
    [
        "",
        "[]",
        "{}",
        GOOD.replace("/a", "/"),
        GOOD.replace("/a", "/-rf"),
        GOOD.replace("/a", "/a b"),
        GOOD.replace("true", '"yes"'),
        GOOD.replace("[]", "[3]"),
        GOOD.replace("[]", '[{"Type":"bind","RW":true,"Source":3}]'),
    ],
)
def test_nonsense_is_refused(seen: str) -> None:
    with pytest.raises(ProtocolBroken):
        Docker().parse(f"{seen}\0sh\0".encode(), make_facts())


def test_a_volume_of_a_driver_that_keeps_it_elsewhere_is_a_problem() -> None:
    mounts = '[{"Type":"volume","Source":"","Destination":"/data","RW":true}]'
    (instance,) = Docker().parse(f"{GOOD.replace('[]', mounts)}\0sh\0".encode(), make_facts())
    assert "/data is no directory of this device" in instance.problems[0]
