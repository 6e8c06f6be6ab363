"""Restore points of applications: streams of one run count as one, cold copies have a target of their own."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.backup import BackupOutcome, Point
from agents.events import Consistency
from agents.facts import PathFact
from agents.facts.device import to_json
from backupsite.policies.known import read_known_facts
from backupsite.policies.models import Policy, Source
from backupsite.policies.naming import name_source
from backupsite.recovery.backups import join_facts, keep_points, known_points
from backupsite.recovery.browsing import keep_listing
from backupsite.recovery.exposure import Standing, judge_devices, list_sources
from backupsite.recovery.folders import encode_path
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.restore_form import propose_target
from backupsite.recovery.words import ShownPoint, say_method
from backupsite.runs.models import Run
from tests.agents.facts.samples import make_facts
from tests.backupsite.instances import make_etcd, make_postgresql
from tests.backupsite.making import make_device, make_point, make_policy, make_run, repository_of
from tests.backupsite.recovery.making import make_node

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = "postgresql:15/main"


def protect(mode: str = "hot", **fields: Any) -> Policy:
    policy = make_policy(make_device(), paths=(), rpo_hours=10, **fields)
    Source.objects.create(policy=policy, application="postgresql", instance="15/main", mode=mode)
    return policy


def standings(policy: Policy) -> list[tuple[bool, Standing]]:
    return [(source.is_cold, source.standing) for source in list_sources(NOW)]


def test_streams_of_one_run_are_one_source_and_as_good_as_the_worst_of_them() -> None:
    policy = protect()
    device = policy.devices.get()
    for part, is_complete in (("base.tar", True), ("globals.sql", False), ("shop.dump", True)):
        make_point(device, policy, NOW - timedelta(hours=1), KEY, part=part, is_complete=is_complete)
    make_point(device, policy, NOW - timedelta(hours=5), KEY, part="base.tar")
    (source,) = list_sources(NOW)
    assert (source.key, source.newest_at, source.standing) == (
        KEY,
        NOW - timedelta(hours=1),
        Standing.PARTIAL,
    )


def test_what_is_copied_hot_and_cold_is_required_twice() -> None:
    policy = protect("both", cold_is_enabled=True, cold_rpo=timedelta(days=8))
    device = policy.devices.get()
    make_point(device, policy, NOW - timedelta(hours=1), KEY, method="snapshot+btrfs")
    assert standings(policy) == [(False, Standing.WITHIN), (True, Standing.NEVER)]
    assert judge_devices(NOW, [device.pk])[device.pk].standing is Standing.NEVER
    make_point(device, policy, NOW - timedelta(days=2), KEY, method="cold+btrfs")
    assert standings(policy) == [(False, Standing.WITHIN), (True, Standing.WITHIN)]
    Policy.objects.update(cold_rpo=timedelta(days=1))
    assert standings(policy) == [(False, Standing.WITHIN), (True, Standing.OUTSIDE)]


@pytest.mark.parametrize(
    ("mode", "fallback", "has_window", "standing"),
    [
        ("cold", "fail", True, Standing.WITHIN),
        ("cold", "fail", False, Standing.OUTSIDE),
        ("hot", "wait", True, Standing.WITHIN),
        ("hot", "wait", False, Standing.OUTSIDE),
        ("hot", "fail", True, Standing.OUTSIDE),
    ],
)
def test_what_is_only_copied_in_the_window_has_its_target(
    mode: str, fallback: str, has_window: bool, standing: Standing
) -> None:
    policy = protect(mode, cold_is_enabled=has_window, cold_rpo=timedelta(days=8))
    policy.sources.update(if_hot_impossible=fallback)
    make_point(policy.devices.get(), policy, NOW - timedelta(days=3), KEY, method="cold+btrfs")
    assert [each.standing for each in list_sources(NOW)] == [standing]


def test_what_is_left_out_is_not_required_and_does_not_hide_the_rest() -> None:
    policy = protect()
    Source.objects.create(policy=policy, path="/var/cache", mode="out")
    assert [source.key for source in list_sources(NOW)] == [KEY]


def point_of(source: str, *paths: str, part: str = "") -> Point:
    return Point(
        source, part, "shop", paths, "a" * 64, "snapshot+btrfs", Consistency.APPLICATION, 10, 1, 5, 0, True,
        proof="p1",
    )  # fmt: skip


def test_what_a_run_made_is_kept_with_its_parts_and_paths() -> None:
    policy = protect()
    device = policy.devices.get()
    outcome = BackupOutcome((point_of(KEY, "/data/pg\udcff", "/data/wal"),), make_facts())
    keep_points(make_run(device, policy=policy), repository_of(device), outcome)
    kept = RestorePoint.objects.get()
    assert (kept.group, kept.proof, kept.top_folder) == ("shop", "p1", "/data")
    assert kept.paths == [encode_path("/data/pg\udcff"), encode_path("/data/wal")]
    again = replace(outcome, points=(replace(outcome.points[0], is_unchanged=True),))
    keep_points(make_run(device, policy=policy), repository_of(device), again)
    assert RestorePoint.objects.filter(restic_id="a" * 64, is_unchanged=True).count() == 1


@pytest.mark.parametrize(
    ("source", "paths", "part", "top"),
    [
        ("/etc", ["/etc"], "", "/etc"),
        ("/etc", [], "", "/etc"),
        (KEY, ["/base.tar"], "base.tar", "/"),
        (KEY, ["/var/lib/pg", "/srv/wal"], "", "/"),
        (KEY, ["/var/lib/pg"], "", "/var/lib/pg"),
        (KEY, [], "", "/"),
    ],
)
def test_where_looking_begins(source: str, paths: list[str], part: str, top: str) -> None:
    assert (
        RestorePoint(source=source, part=part, paths=[encode_path(path) for path in paths]).top_folder == top
    )


def test_the_newest_good_points_are_what_a_run_knows() -> None:
    policy = protect()
    device = policy.devices.get()
    make_point(device, policy, NOW - timedelta(hours=3), "/a", proof="old")
    make_point(device, policy, NOW - timedelta(hours=2), "/a", proof="new")
    make_point(device, policy, NOW - timedelta(hours=1), "/a", proof="torn", is_complete=False)
    make_point(device, policy, NOW - timedelta(hours=2), "/b", proof="proven")
    make_point(device, policy, NOW - timedelta(hours=1), "/b", proof="")
    make_point(device, None, NOW, "/c", proof="of another policy")
    known = known_points(make_run(device, policy=policy), NOW)
    assert [(each.source, each.proof) for each in known] == [("/a", "new")]


def test_a_proof_is_believed_for_a_week_after_the_data_was_read() -> None:
    device = make_device()
    policy = make_policy(device)
    for source, read_ago, has_read in (
        ("/fresh", timedelta(days=6), True),
        ("/old", timedelta(days=7), True),
        ("/forgotten", timedelta(days=1), False),
        ("/tomorrow", timedelta(days=-1), True),  # the clock was set back since
    ):
        read = make_point(device, policy, NOW - read_ago, source, proof="same", is_unchanged=not has_read)
        again = make_point(device, policy, NOW - timedelta(hours=1), source, proof="same", is_unchanged=True)
        RestorePoint.objects.filter(pk=again.pk).update(restic_id=read.restic_id, run=make_run(device))
    run = make_run(device, policy=policy)
    assert [each.source for each in known_points(run, NOW)] == ["/fresh"]


def test_a_backup_forgets_nothing_that_it_did_not_look_at() -> None:
    known = replace(
        make_facts(paths=("/data", "/old")), instances=(make_postgresql(), make_etcd("/data/etcd"))
    )
    seen = make_facts(others=(PathFact("/data", "missing", 0, 0, False, ""),))
    joined = join_facts(known, seen, {"etcd", ""})
    assert [each.key for each in joined.instances] == [KEY], "etcd was looked for, and is gone"
    assert [(fact.path, fact.kind) for fact in joined.paths] == [("/old", "directory"), ("/data", "missing")]
    assert join_facts(None, seen, ()) == seen


def test_a_backup_keeps_what_the_check_found() -> None:
    device = make_device(facts=to_json(replace(make_facts(), instances=(make_postgresql(),))))
    policy = make_policy(device)
    keep_points(make_run(device, policy=policy), repository_of(device), BackupOutcome((), make_facts()), {""})
    device.refresh_from_db()
    facts = read_known_facts(device)
    assert facts is not None and [each.key for each in facts.instances] == [KEY]


def test_words() -> None:
    point = make_point(
        make_device(), None, NOW, KEY, part="base.tar", method="stream", consistency="application"
    )
    assert ShownPoint(point).sentence == "PostgreSQL 15/main, stream base.tar, application-consistent"
    assert say_method("cold+live") == "Cold, without a snapshot"
    assert say_method("snapshot+btrfs") == "Held for a snapshot, btrfs snapshot"
    assert say_method("btrfs+live") == "btrfs snapshot and live files"
    assert name_source("/srv/a:b") == "/srv/a:b" and name_source("gone:x") == "gone:x"
    assert propose_target(point).startswith("/var/restore/postgresql_15_main-base.tar-2026")


def test_a_stream_is_looked_into_and_restored_into_a_folder(operator: Client) -> None:
    point = make_point(
        make_device(), None, timezone.now(), KEY, part="base.tar", paths=[encode_path("/base.tar")],
        method="stream", consistency="application",
    )  # fmt: skip
    keep_listing(point, "/", [make_node("base.tar")])
    text = operator.get(point.get_absolute_url()).content.decode()
    assert "PostgreSQL 15/main, stream base.tar" in text and 'aria-label="base.tar"' in text
    assert reverse("point-comeback", args=[point.pk]) in text
    address = reverse("device-restore", args=["db-01"])
    page = operator.get(f"{address}?point={point.pk}")
    assert "stream base.tar, application-consistent" in page.content.decode()
    assert page.context["picked"].is_whole_source
    where = {"to": "folder", "target": "/var/restore/pg", "conflict": "skip", "token": str(uuid.uuid4())}
    operator.post(address, {"point": str(point.pk), **where})
    run = Run.objects.get(kind="restore")
    assert run.request["folder"] == encode_path("/") and run.request["names"] == []
