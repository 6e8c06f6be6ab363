"""What the preview says is what a run would plan."""

from __future__ import annotations

from dataclasses import replace

from agents.facts import Instance, PathFact
from backupsite.console.policy_found import find_more
from backupsite.console.policy_outcome import Target, advise, expect, find_group_problem, merge
from backupsite.policies.models import Source
from tests.agents.facts.samples import make_facts, make_mount
from tests.backupsite.instances import make_etcd, make_postgresql


def target(*instances: Instance, **more: dict[str, list[float]]) -> Target:
    facts = replace(make_facts(make_mount("/srv/xfs", "xfs", "8:17")), instances=instances)
    return Target("db-01", "normal", facts, **more)


def test_hot_files_are_planned_though_nobody_looked_at_the_path() -> None:
    (outcome,) = expect(Source(path="/data/www"), target())
    assert (outcome.tone, outcome.stops) == ("good", "")
    assert outcome.headline == "btrfs snapshot, crash-consistent."
    assert any("atomic" in reason for reason in outcome.reasons)


def test_live_files_are_told_as_such_or_refused_with_a_remedy() -> None:
    (live,) = expect(Source(path="/srv/xfs"), target())
    assert live.tone == "warn" and "not from one moment" in live.headline
    (refused,) = expect(Source(path="/srv/xfs", if_hot_impossible="fail"), target())
    assert refused.tone == "bad" and refused.headline.startswith("Fails") and refused.lines[0]


def test_what_waits_says_what_for_and_what_happens_then() -> None:
    source = Source(path="/srv/xfs", if_hot_impossible="wait", services="nginx")
    waits, then = expect(source, target())
    assert waits.tone == "warn" and waits.headline.startswith("Waits for the cold window")
    assert then.headline.startswith("In the cold window: Cold, without a snapshot")
    assert then.stops == "nginx: stopped for seconds to minutes"
    only = expect(Source(path="/data", if_hot_impossible="wait", services="nginx"), target())
    assert [each.tone for each in only] == ["good"], "hot is possible: nothing is stopped for it"


def test_both_is_told_twice() -> None:
    source = Source(application="postgresql", instance="15/main", mode="both")
    hot, cold = expect(source, target(make_postgresql("/data/pg")))
    assert hot.tone == "good" and "application-consistent" in hot.headline and not hot.stops
    assert cold.stops == "postgresql@15-main.service: stopped for about 5 s"


def test_what_was_measured_is_said() -> None:
    source = Source(path="/data/www", mode="cold", services="nginx\nphp")
    measured = target(stops={"nginx, php": [900.0, 1200.0]}, freezes={})
    (outcome,) = expect(source, measured)
    assert outcome.stops.replace("\u00a0", " ") == "nginx, php: stopped for up to 1200 ms"
    assert "last 2 times" in outcome.lines[0]


def test_what_is_missing_or_unknown_is_told() -> None:
    (gone,) = expect(Source(application="postgresql", instance="9/none"), target())
    assert gone.tone == "bad" and "was not found" in gone.headline
    (unknown,) = expect(Source(path="/srv"), Target("db-01", "normal", None))
    assert unknown.tone == "off" and "Nothing is known" in unknown.headline
    (out,) = expect(Source(path="/srv", mode="out"), Target("db-01", "normal", None))
    assert out.headline == "In no run. It counts as decided."
    facts = replace(make_facts(), paths=(PathFact("/data/old", "missing", 0, 0, False, ""),))
    (missing,) = expect(Source(path="/data/old"), Target("db-01", "normal", facts))
    assert missing.tone == "bad" and "does not exist" in missing.headline


def test_outcomes_of_several_devices_are_said_once() -> None:
    (same,) = expect(Source(path="/data/www"), target())
    other = replace(same, tone="bad")
    merged = merge([("a", same), ("b", other), ("c", same)])
    assert [(each.tone, each.devices) for each in merged] == [("good", ("a", "c")), ("bad", ("b",))]


def test_a_group_that_cannot_be_held_together_is_told_before_it_is_saved() -> None:
    together = [Source(path="/data/www", group="shop"), Source(path="/srv/xfs", group="shop")]
    assert "no snapshot holds it still" in find_group_problem(together, target())
    assert find_group_problem([replace_group(each, "") for each in together], target()) == ""
    fine = [Source(path="/data/www", group="shop"), Source(path="/data/other", group="shop")]
    assert find_group_problem(fine, target()) == ""


def replace_group(source: Source, group: str) -> Source:
    return Source(path=source.path, group=group)


def test_advice_needs_something_to_go_by() -> None:
    assert advise(Source(application="command", instance="x", command="true"), target()) is None
    assert advise(Source(application="etcd", instance="default"), target()) is None
    found = advise(Source(application="etcd", instance="default"), target(make_etcd("/data/etcd")))
    assert found is not None and found.mode == "both"


def test_what_was_found_is_offered_until_it_is_in_the_policy() -> None:
    known = target(make_postgresql("/data/pg"), make_etcd("/data/etcd")).facts
    keys = [each.key for each in find_more([known, known, None], [])]
    assert keys == ["etcd:default", "postgresql:15/main", "/data", "/srv/xfs"]
    assert [each.device_count for each in find_more([known, known, None], ["/data"])] == [2, 2, 2]
    assert [each.key for each in find_more([known], ["postgresql:15/main", "/"])] == ["etcd:default"]


def test_what_may_be_missing_is_left_out_in_the_preview_too() -> None:
    gone = {"application": "postgresql", "instance": "9/none"}
    (shared,) = expect(Source(**gone, is_shared=True), target())
    assert shared.tone == "off" and shared.headline.startswith("Left out, it is shared: ")
    (optional,) = expect(Source(**gone, is_optional=True), target())
    assert optional.tone == "off" and optional.headline.startswith("Left out, it is optional: ")
