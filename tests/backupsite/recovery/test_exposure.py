from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from backupsite.fleet.models import Device, Tag
from backupsite.policies.models import Policy
from backupsite.policies.selecting import refresh_devices
from backupsite.recovery.drill_keeping import keep_evidence
from backupsite.recovery.exposure import Standing, judge, judge_device, judge_devices, list_sources
from backupsite.recovery.models import Exposure
from backupsite.recovery.stored import count_standings, restate
from backupsite.runs.models import Run
from tests.backupsite.making import make_device, make_point, make_policy, make_run
from tests.backupsite.recovery.test_drill_pages import BAD, make_evidence

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RPO = timedelta(hours=10)


@pytest.mark.parametrize(
    ("age_hours", "is_complete", "standing"),
    [
        (1, True, Standing.WITHIN),
        (8, True, Standing.WITHIN),
        (8.1, True, Standing.CLOSE),
        (10, True, Standing.CLOSE),
        (10.01, True, Standing.OUTSIDE),
        (1, False, Standing.PARTIAL),
        (9, False, Standing.CLOSE),
        (11, False, Standing.OUTSIDE),
    ],
)
def test_a_source_stands_by_the_age_of_its_newest_point(
    age_hours: float, is_complete: bool, standing: Standing
) -> None:
    assert judge(NOW - timedelta(hours=age_hours), is_complete, RPO, NOW) is standing


def test_without_a_point_it_is_never_green() -> None:
    assert judge(None, True, RPO, NOW) is Standing.NEVER
    assert judge_device([], NOW).standing is Standing.UNPROTECTED
    assert judge_device([], NOW, is_paused=True).standing is Standing.PAUSED
    greens = {standing for standing in Standing if standing.status.tone == "good"}
    assert greens == {Standing.WITHIN}


@pytest.mark.django_db
def test_a_device_stands_as_its_worst_source() -> None:
    device = make_device()
    policy = make_policy(device, paths=("/etc", "/srv", "/home"))
    make_point(device, policy, NOW - timedelta(hours=1), "/etc")
    make_point(device, policy, NOW - timedelta(hours=11), "/srv")
    make_point(device, policy, NOW - timedelta(hours=30), "/home")
    make_point(device, policy, NOW - timedelta(hours=2), "/home")
    exposure = judge_devices(NOW, [device.pk])[device.pk]
    assert exposure.standing is Standing.OUTSIDE
    assert exposure.worst is not None and exposure.worst.key == "/srv"
    assert exposure.worst.left(NOW) == timedelta(hours=-1)
    assert exposure.source_count == 3


@pytest.mark.django_db
def test_what_another_policy_or_device_made_does_not_count() -> None:
    device, other = make_device(), make_device("db-02")
    policy = make_policy(device)
    elsewhere = make_policy(other, name="other")
    make_point(device, elsewhere, NOW)
    make_point(device, None, NOW)
    make_point(other, policy, NOW)
    assert judge_devices(NOW, [device.pk])[device.pk].standing is Standing.NEVER


@pytest.mark.django_db
def test_a_paused_policy_requires_nothing_and_says_so() -> None:
    device = make_device()
    policy = make_policy(device)
    make_point(device, policy, NOW)
    assert judge_devices(NOW, [device.pk])[device.pk].standing is Standing.WITHIN
    Policy.objects.update(is_enabled=False)
    assert judge_devices(NOW, [device.pk])[device.pk].standing is Standing.PAUSED


@pytest.mark.django_db
def test_a_policy_without_sources_protects_nothing() -> None:
    device = make_device()
    make_policy(device, paths=())
    assert judge_devices(NOW, [device.pk])[device.pk].standing is Standing.UNPROTECTED


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    devices = [make_device(f"db-{number}") for number in range(12)]
    make_policy(*devices, paths=("/etc", "/srv"))
    with django_assert_num_queries(4):
        assert len(judge_devices(NOW, [device.pk for device in devices])) == 12
    with django_assert_num_queries(2):
        assert len(list_sources(NOW)) == 24


@pytest.mark.django_db
def test_an_optional_source_is_not_required() -> None:
    device = make_device()
    policy = make_policy(device, paths=("/etc", "/srv"))
    make_point(device, policy, NOW - timedelta(hours=1), "/etc")
    policy.sources.filter(path="/srv").update(is_optional=True)
    exposure = judge_devices(NOW, [device.pk])[device.pk]
    assert (exposure.standing, exposure.source_count) == (Standing.WITHIN, 1)


@pytest.mark.django_db
def test_a_device_out_of_service_misses_nothing() -> None:
    device = make_device()
    policy = make_policy(device)
    make_point(device, policy, NOW - timedelta(days=900))
    device.retired_at = NOW
    device.save()
    assert judge_devices(NOW, [device.pk])[device.pk].standing is Standing.PAUSED


@pytest.mark.django_db
def test_a_restore_point_that_failed_its_drill_does_not_count() -> None:
    device = make_device()
    policy = make_policy(device)
    now = timezone.now()
    point = make_point(device, policy, now)
    restate([device.pk])
    assert judge_devices(now, [device.pk])[device.pk].standing is Standing.WITHIN
    run = make_run(device, kind=Run.DRILL, request={"points": [str(point.pk)]})
    keep_evidence(run, [point], make_evidence(BAD))
    assert judge_devices(now, [device.pk])[device.pk].standing is Standing.NEVER
    assert count_standings(Device.objects.all(), now) == {Standing.NEVER: 1}


def make_cluster(**fields: Any) -> tuple[Device, Device, Policy]:
    one, two = make_device("db-01"), make_device("db-02")
    policy = make_policy(one, two, paths=("/etc", "/srv"))
    policy.sources.filter(path="/srv").update(is_shared=True, **fields)
    return one, two, policy


@pytest.mark.django_db
def test_what_one_device_stored_of_a_shared_source_counts_for_all() -> None:
    one, two, policy = make_cluster()
    for device in (one, two):
        make_point(device, policy, NOW - timedelta(hours=1), "/etc")
    assert standings() == {one.pk: Standing.NEVER, two.pk: Standing.NEVER}, "none of them has it"
    make_point(one, policy, NOW - timedelta(hours=3), "/srv")
    make_point(two, policy, NOW - timedelta(hours=2), "/srv")
    assert standings() == {one.pk: Standing.WITHIN, two.pk: Standing.WITHIN}
    shared = [each for each in list_sources(NOW, [one.pk]) if each.key == "/srv"]
    assert [(each.device_id, each.made_on, each.newest_at) for each in shared] == [
        (one.pk, two.pk, NOW - timedelta(hours=2))
    ]
    assert count_standings(Device.objects.all(), NOW) == {Standing.WITHIN: 2}, "the other one was told"
    later = NOW + timedelta(hours=9)
    assert {exposure.standing for exposure in judge_devices(later, [one.pk, two.pk]).values()} == {
        Standing.OUTSIDE
    }


@pytest.mark.django_db
def test_what_each_has_of_its_own_does_not_count_for_another() -> None:
    one, two, policy = make_cluster()
    make_point(one, policy, NOW, "/etc")
    make_point(one, policy, NOW, "/srv")
    assert standings() == {one.pk: Standing.WITHIN, two.pk: Standing.NEVER}


@pytest.mark.django_db
def test_damage_and_strangers_do_not_count_for_a_shared_source() -> None:
    one, two, policy = make_cluster()
    for device in (one, two):
        make_point(device, policy, NOW, "/etc")
    make_point(one, policy, NOW, "/srv", damage="a pack is broken")
    make_point(make_device("db-03"), policy, NOW, "/srv")
    make_point(two, make_policy(two, name="other"), NOW, "/srv")
    assert standings() == {one.pk: Standing.NEVER, two.pk: Standing.NEVER}


@pytest.mark.django_db
def test_cold_copies_of_a_shared_source_are_of_the_service_too() -> None:
    one, two, policy = make_cluster(mode="both")
    Policy.objects.update(cold_rpo=RPO)
    for device in (one, two):
        make_point(device, policy, NOW, "/etc")
    make_point(one, policy, NOW - timedelta(hours=2), "/srv", method="cold+btrfs")
    make_point(two, policy, NOW - timedelta(hours=1), "/srv")
    found = [each for each in list_sources(NOW, [two.pk]) if each.key == "/srv"]
    assert [(each.is_cold, each.made_on) for each in found] == [(False, two.pk), (True, one.pk)]
    assert standings() == {one.pk: Standing.WITHIN, two.pk: Standing.WITHIN}


@pytest.mark.django_db
def test_a_member_out_of_service_or_gone(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    one, two, policy = make_cluster()
    for device in (one, two):
        make_point(device, policy, NOW, "/etc")
    make_point(one, policy, NOW, "/srv")
    Device.objects.filter(pk=one.pk).update(retired_at=NOW)
    with django_assert_num_queries(3):
        found = {each.key: each.made_on for each in list_sources(NOW)}
    assert found == {"/etc": two.pk, "/srv": one.pk}, "what it stored stays the service's"
    policy.assignments.filter(device=one).delete()
    assert standings()[two.pk] is Standing.NEVER


@pytest.mark.django_db
def test_who_leaves_a_cluster_by_its_tags_is_told_to_the_others() -> None:
    tag = Tag.objects.create(name="db")
    one, two, policy = make_cluster()
    policy.tags.add(tag)
    one.tags.add(tag)
    policy.assignments.filter(device=one).update(is_by_name=False)
    make_point(two, policy, NOW, "/etc")
    make_point(one, policy, NOW, "/srv")
    assert Exposure.objects.get(pk=two.pk).base == Standing.WITHIN
    one.tags.clear()
    restate(refresh_devices(NOW))
    assert Exposure.objects.get(pk=two.pk).base == Standing.NEVER


def standings() -> dict[int, Standing]:
    ids = list(Device.objects.filter(policies__name="hourly").values_list("pk", flat=True))
    return {pk: exposure.standing for pk, exposure in judge_devices(NOW, ids).items()}
