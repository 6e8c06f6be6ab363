"""Cold sources, and file systems that are mounted inside of what an application keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.errors import PlanRefused, SourceMissing
from agents.events import Consistency
from agents.facts import DeviceFacts
from agents.plan import PlannedSource, SourceRequest, find_ground, make_plan
from tests.agents.facts.samples import make_facts, make_mount
from tests.backupsite.instances import make_etcd, make_postgresql

DISK = make_mount("/data/disk", "ext4", "8:17")


def plan_cold(facts: DeviceFacts, *services: str) -> PlannedSource:
    (planned,) = make_plan(facts, [SourceRequest("/data", mode="cold", services=services)]).sources
    return planned


def test_what_stands_still_is_read_from_snapshots_where_all_of_it_can_be() -> None:
    planned = plan_cold(make_facts(paths=("/data",)), "nginx")
    assert (planned.method, planned.stays_stopped) == ("cold+btrfs", False)


def test_what_stands_still_until_it_is_stored_needs_no_snapshot_of_a_part() -> None:
    """A snapshot that is prepared and never taken would be read otherwise."""
    planned = plan_cold(make_facts(DISK, paths=("/data",)), "nginx")
    assert planned.stays_stopped
    assert [(part.path, part.method, part.units) for part in planned.parts] == [
        ("/data", "live", ()),
        ("/data/disk", "live", ()),
    ]
    assert planned.method == "cold+live"
    assert planned.consistency is Consistency.APPLICATION


@pytest.mark.parametrize("name", ["a b", "-x", "../x"])
def test_what_is_no_name_of_a_service_is_refused_with_its_remedy(name: str) -> None:
    with pytest.raises(PlanRefused, match="not the name of a service") as refused:
        plan_cold(make_facts(paths=("/data",)), name)
    assert refused.value.remedy


def test_no_snapshot_holds_an_application_with_a_file_system_inside() -> None:
    assert find_ground(("/data/etcd",), make_facts()).is_atomic
    inside = make_mount("/data/etcd/wal", "xfs", "8:17")
    ground = find_ground(("/data/etcd",), make_facts(inside))
    assert not ground.is_atomic and "/data/etcd/wal" in ground.reason
    assert find_ground(("/data/etcd",), make_facts(make_mount("/data/etcd/tmp", "tmpfs", "0:70"))).is_atomic


def test_an_instance_that_does_not_run_is_watched_while_it_is_read() -> None:
    stands = make_postgresql("/data/disk/pg", is_running=False)
    facts = replace(make_facts(DISK), instances=(stands,))
    request = SourceRequest(
        application="postgresql", instance="15/main", mode="cold", services=("pgbouncer",)
    )
    (planned,) = make_plan(facts, [request]).sources
    assert planned.quiesce is not None and planned.quiesce.is_watch and planned.stays_stopped
    assert "postgresql@15-main.service pgbouncer && " in planned.quiesce.hold
    assert make_plan(facts, [request]).moments == ()
    with pytest.raises(PlanRefused, match="not the name of a service"):
        make_plan(facts, [replace(request, services=("*",))])


COLD_ETCD = SourceRequest(application="etcd", instance="default", mode="cold")


def test_an_application_whose_disk_is_not_mounted_is_not_backed_up() -> None:
    """What lies below the mount point would be stored as its data."""
    facts = make_facts(expected=("/data/disk",))
    for place in ("/data/disk/etcd", "/data"):
        with pytest.raises(SourceMissing, match="/data/disk should be mounted"):
            make_plan(replace(facts, instances=(make_etcd(place),)), [COLD_ETCD])


def test_an_application_never_holds_the_repository_or_ours() -> None:
    facts = replace(make_facts(), instances=(make_etcd("/data"),))
    (planned,) = make_plan(facts, [COLD_ETCD], repository_path="/data/backup[s]").sources
    assert r"/data/backup\[s]" in planned.excludes
    assert "/data/backup[s]" in [each.path for each in planned.left_out]
    assert "/data/.snapshots/1" in planned.excludes, "history that is read live is left out as the plan says"
    inside = replace(facts, instances=(make_etcd("/data/backups/etcd"),))
    with pytest.raises(PlanRefused, match="is the repository"):
        make_plan(inside, [COLD_ETCD], repository_path="/data/backups")


def test_a_file_system_inside_of_a_cold_application_is_stored_with_it() -> None:
    inside = make_mount("/data/etcd/wal", "xfs", "8:17")
    facts = replace(make_facts(inside), instances=(make_etcd("/data/etcd"),))
    request = SourceRequest(application="etcd", instance="default", mode="cold")
    (planned,) = make_plan(facts, [request]).sources
    assert [part.path for part in planned.parts] == ["/data/etcd", "/data/etcd/wal"]
    assert planned.stays_stopped and planned.paths == ("/data/etcd",)
