"""What a plan chooses, leaves out and refuses, before anything is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.errors import PlanRefused, SourceMissing
from agents.events import Consistency
from agents.facts import DeviceFacts, Instance, PathFact
from agents.plan import PlannedSource, SourceRequest, escape_pattern, make_plan
from tests.agents.facts.samples import make_facts, make_mount


def plan_one(facts: DeviceFacts, path: str, *excludes: str, live: bool = True, **more: str) -> PlannedSource:
    request = SourceRequest(path, excludes, "hot", "accept-live" if live else "fail")
    (planned,) = make_plan(facts, [request], **more).sources
    return planned


def test_btrfs_is_snapshotted_and_says_why() -> None:
    planned = plan_one(make_facts(paths=("/data",)), "/data", live=False)
    assert [(part.path, part.method) for part in planned.parts] == [("/data", "btrfs")]
    assert planned.consistency is Consistency.CRASH
    assert "2 subvolumes" in planned.parts[0].reason


def test_what_runs_left_is_never_stored() -> None:
    planned = plan_one(make_facts(paths=("/data",)), "/data")
    assert planned.excludes[-2:] == ("/data/.hotfleet-*-*", "/data/nested/.hotfleet-*-*")


def test_history_on_the_device_is_left_out() -> None:
    planned = plan_one(make_facts(paths=("/data",)), "/data")
    assert [each.path for each in planned.left_out] == ["/data/.snapshots/1"]
    assert "/data/.snapshots/1" in planned.excludes
    explicit = plan_one(make_facts(paths=("/data/.snapshots/1",)), "/data/.snapshots/1")
    assert explicit.method == "live"
    assert "read-only" in explicit.parts[0].reason


def test_a_file_system_without_snapshots_is_read_live_only_when_the_policy_accepts_it() -> None:
    facts = make_facts(paths=("/etc",))
    planned = plan_one(facts, "/etc")
    assert (planned.method, planned.consistency) == ("live", Consistency.NONE)
    assert "ext4" in planned.parts[0].reason
    with pytest.raises(PlanRefused, match="does not accept live") as refused:
        plan_one(facts, "/etc", live=False)
    assert refused.value.remedy


def test_a_missing_tool_is_named_with_its_remedy() -> None:
    with pytest.raises(PlanRefused, match="btrfs is missing") as refused:
        plan_one(make_facts(paths=("/data",), tools=()), "/data", live=False)
    assert "btrfs-progs" in refused.value.remedy


def test_another_file_system_inside_is_a_part_of_its_own_and_the_worst_part_counts() -> None:
    facts = make_facts(make_mount("/data/disk", "xfs", "8:17"), paths=("/data",))
    planned = plan_one(facts, "/data")
    assert [(part.path, part.method) for part in planned.parts] == [
        ("/data", "btrfs"),
        ("/data/disk", "live"),
    ]
    assert planned.consistency is Consistency.NONE
    with pytest.raises(PlanRefused, match="/data/disk"):
        plan_one(facts, "/data", live=False)


@pytest.mark.parametrize("kind", ["tmpfs", "overlay", "proc", "nfs4", "cifs", "fuse.sshfs"])
def test_what_is_no_data_of_this_device_is_left_out_with_a_reason(kind: str) -> None:
    facts = make_facts(
        make_mount("/data/o*er", kind, "0:70"), make_mount("/data/o*er/in", "xfs", "8:17"), paths=("/data",)
    )
    planned = plan_one(facts, "/data", live=False)
    assert [each.path for each in planned.left_out if "history" not in each.reason] == ["/data/o*er"]
    assert kind in planned.left_out[0].reason
    assert "/data/o\\*er/*" in planned.excludes


def test_a_mount_that_the_policy_excludes_is_not_read() -> None:
    facts = make_facts(make_mount("/data/disk", "xfs", "8:17"), paths=("/data",))
    planned = plan_one(facts, "/data", "/data/disk", "*.tmp", live=False)
    assert planned.left_out[0].reason == "the policy excludes it"
    assert planned.excludes[:2] == ("/data/disk", "*.tmp")


@pytest.mark.parametrize("kind", ["missing", "unreadable"])
def test_a_source_that_is_not_there_ends_the_plan(kind: str) -> None:
    facts = make_facts(others=(PathFact("/gone", kind, 0, 0, False, ""),))
    with pytest.raises(SourceMissing, match="/gone"):
        plan_one(facts, "/gone")


@pytest.mark.parametrize(("source", "point"), [("/srv", "/srv"), ("/srv/a", "/srv"), ("/srv", "/srv/a")])
def test_an_expected_mount_that_is_not_there_ends_the_plan(source: str, point: str) -> None:
    facts = make_facts(paths=(source,), expected=(point,))
    with pytest.raises(SourceMissing, match="should be mounted"):
        plan_one(facts, source)
    mounted = make_facts(make_mount(point, "ext4", "8:17"), paths=(source,), expected=(point,))
    assert plan_one(mounted, source).parts


@pytest.mark.parametrize(
    ("path", "kind", "why"),
    [
        ("/link", "link", "symbolic link to /real"),
        ("/dev/null", "other", "neither"),
        ("relative", "directory", "absolute"),
        ("/a/../b", "directory", "absolute"),
        ("//a", "directory", "absolute"),
        ("/a/", "directory", "absolute"),
        ("/proc/self", "directory", "kernel"),
        ("/run/hotfleet/x", "directory", "Hotfleet"),
    ],
)
def test_these_sources_are_refused(path: str, kind: str, why: str) -> None:
    resolved = "/real" if kind == "link" else path
    facts = make_facts(others=(PathFact(path, kind, 1, 1, False, resolved),))
    with pytest.raises(PlanRefused, match=why):
        plan_one(facts, path)


def test_the_whole_of_root_leaves_out_what_the_kernel_shows() -> None:
    planned = plan_one(make_facts(paths=("/",)), "/")
    assert [(part.path, part.method) for part in planned.parts] == [("/", "live"), ("/data", "btrfs")]
    assert {"/proc/*", "/run/*", "/run/hotfleet", "/var/cache/hotfleet"} < set(planned.excludes)
    assert "/var/tmp/.hotfleet-*-*" in planned.excludes, "a drill may work beside it"
    assert planned.scratch_bytes, "restic cannot write to /tmp while / is read-only"
    assert not plan_one(make_facts(paths=("/data",)), "/data").scratch_bytes


def test_a_repository_never_holds_itself() -> None:
    facts = make_facts(paths=("/data", "/data/backups/one"))
    planned = plan_one(facts, "/data", repository_path="/data/backups")
    assert "/data/backups" in planned.excludes
    assert "/data/backups" in [each.path for each in planned.left_out]
    with pytest.raises(PlanRefused, match="repository"):
        plan_one(facts, "/data/backups/one", repository_path="/data/backups")


def test_a_source_behind_a_symbolic_link_is_taken_where_it_really_is() -> None:
    facts = make_facts(others=(PathFact("/link/x", "directory", 1, 1, False, "/data/x"),))
    planned = plan_one(facts, "/link/x", live=False)
    assert (planned.key, planned.parts[0].path) == ("/link/x", "/data/x")


def test_an_empty_source_is_said() -> None:
    facts = make_facts(others=(PathFact("/data/e", "directory", 1, 1, True, "/data/e"),))
    assert plan_one(facts, "/data/e").warnings == ("/data/e is empty.",)


def test_a_policy_without_a_source_or_facts_without_the_path_are_refused() -> None:
    with pytest.raises(PlanRefused, match="no source"):
        make_plan(make_facts(), [])
    with pytest.raises(PlanRefused, match="nothing was read"):
        plan_one(make_facts(), "/etc")


def test_sources_are_grouped_by_provider_once_each() -> None:
    facts = make_facts(make_mount("/data/disk", "xfs", "8:17"), paths=("/data", "/data/disk"))
    requests = [SourceRequest(path, (), "hot", "accept-live") for path in ("/data", "/data/disk")]
    plan = make_plan(facts, requests)
    assert [moment.paths_by_method() for moment in plan.moments] == [
        {"btrfs": ("/data",), "live": ("/data/disk",)},
        {"live": ("/data/disk",)},
    ]
    assert plan.sentences and all(sentence.endswith(".") for sentence in plan.sentences)


def test_patterns_match_only_the_path_that_they_were_made_of() -> None:
    assert escape_pattern("/a*[b]?\\c") == "/a\\*\\[b]\\?\\\\c"


def test_a_group_on_several_volumes_that_nothing_holds_is_warned_of() -> None:
    facts = make_facts(make_mount("/other", "btrfs", "0:40", "/other"), paths=("/data/a", "/data/nested"))
    sources = [SourceRequest(path, group="shop") for path in ("/data/a", "/data/nested")]
    plan = make_plan(facts, sources)
    assert len(plan.moments) == 1, "a group is one moment"
    assert all("taken one after the other" in source.warnings[0] for source in plan.sources)
    alone = make_plan(facts, [SourceRequest("/data/a", group="shop"), SourceRequest("/data/nested")])
    assert not any(source.warnings for source in alone.sources)
    one = make_facts(paths=("/data/a", "/data/b"))
    plan = make_plan(one, [SourceRequest(path, group="shop") for path in ("/data/a", "/data/b")])
    assert not any(source.warnings for source in plan.sources), "one volume is one instant"


def test_when_everything_waits_for_the_cold_window_the_plan_is_empty() -> None:
    facts = make_facts(make_mount("/bare", "xfs", "8:17"), paths=("/bare",))
    plan = make_plan(facts, [SourceRequest("/bare", if_hot_impossible="wait")])
    assert (plan.sources, [each.path for each in plan.waiting]) == ((), ["/bare"])
    assert any("waits for the cold window" in sentence for sentence in plan.sentences)


def test_an_optional_source_may_be_missing_and_is_told() -> None:
    facts = make_facts(paths=("/data",))
    gone = replace(facts, paths=(*facts.paths, PathFact("/gone", "missing", 0, 0, False, "")))
    wanted = [SourceRequest("/data"), SourceRequest("/gone", is_optional=True)]
    plan = make_plan(gone, wanted)
    assert [source.key for source in plan.sources] == ["/data"]
    assert "/gone is optional and not stored: /gone does not exist on the device." in plan.sentences
    assert make_plan(gone, wanted[1:]).sources == ()
    with pytest.raises(SourceMissing, match="/gone"):
        make_plan(gone, [replace(wanted[1], is_optional=False)])


SHARED = SourceRequest("/srv/db", is_shared=True)


@pytest.mark.parametrize(
    ("kind", "is_empty", "reason"),
    [("missing", False, "does not exist"), ("directory", True, "is empty here")],
)
def test_a_shared_source_is_left_out_where_its_service_is_not(kind: str, is_empty: bool, reason: str) -> None:
    facts = make_facts(paths=("/data",))
    facts = replace(facts, paths=(*facts.paths, PathFact("/srv/db", kind, 0, 0, is_empty, "/srv/db")))
    plan = make_plan(facts, [SourceRequest("/data"), SHARED])
    assert [source.key for source in plan.sources] == ["/data"]
    assert [each.path for each in plan.elsewhere] == ["/srv/db"] and plan.absent == ()
    assert any("shared and left out here" in said and reason in said for said in plan.sentences)


def test_a_shared_source_that_cannot_be_read_is_no_service_that_moved() -> None:
    facts = make_facts(paths=())
    facts = replace(facts, paths=(PathFact("/srv/db", "unreadable", 0, 0, False, ""),))
    with pytest.raises(SourceMissing, match="cannot be read"):
        make_plan(facts, [SHARED])


def test_what_a_server_left_behind_is_no_shared_source() -> None:
    request = SourceRequest(application="redis", instance="6379", is_shared=True)
    old = Instance("redis", "6379", "Redis 6379", "7.0", ("/data",), "", False)
    facts = replace(make_facts(paths=("/data",)), instances=(old,))
    plan = make_plan(facts, [request])
    assert plan.sources == () and "does not run here" in plan.elsewhere[0].reason
    assert make_plan(facts, [replace(request, is_shared=False)]).sources, "else it says nothing"
