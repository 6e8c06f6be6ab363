"""What is stored about how devices stand says the same as their restore points and policies, at any time."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agents.backup import BackupOutcome, Point
from agents.events import Consistency
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, PolicyDevice, Source
from backupsite.recovery import stored
from backupsite.recovery.backups import keep_points
from backupsite.recovery.exposure import Standing, judge_devices, list_sources
from backupsite.recovery.models import Exposure, RestorePoint
from backupsite.recovery.stored import count_standings, repair, restate, with_standing
from backupsite.runs import tick
from tests.agents.facts.samples import make_facts
from tests.backupsite.making import (
    make_device,
    make_point,
    make_policy,
    make_run,
    repository_of,
    source_fields,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PATHS = ("/etc", "/srv", "/home")


def read_stored(now: datetime) -> dict[int, Standing]:
    rows = with_standing(Device.objects.all(), now).values_list("pk", "standing")
    return {pk: Standing(standing) for pk, standing in rows}


def compute(now: datetime) -> dict[int, Standing]:
    judged = judge_devices(now, list(Device.objects.values_list("pk", flat=True)))
    return {pk: exposure.standing for pk, exposure in judged.items()}


def turning_points() -> list[datetime]:
    """The moments at which a standing changes by itself, and the first instants after them."""
    turns = [NOW, NOW + timedelta(days=400)]
    for source in list_sources(NOW):
        if source.newest_at is not None:
            turns += [source.newest_at + source.rpo * share for share in (0.8, 1)]
    return turns + [turn + timedelta(microseconds=1) for turn in turns]


def change(chance: random.Random) -> None:
    """Change something that a standing depends on, without a word to what is stored."""
    device, policy = chance.choice(Device.objects.all()), chance.choice(Policy.objects.all())
    path = chance.choice(PATHS)
    match chance.randrange(17):
        case 15 | 16:
            root, data = '["", "/", ["/"], false]', '["", "/data", ["/data"], false]'
            found = chance.choice(("", f"[{root}]", f"[{root}, {data}]"))
            Device.objects.filter(pk=device.pk).update(found=found)
        case 0:
            Policy.objects.filter(pk=policy.pk).update(is_enabled=not policy.is_enabled)
        case 1:
            Policy.objects.filter(pk=policy.pk).update(rpo=timedelta(minutes=chance.randrange(1, 4000)))
        case 2:
            Source.objects.filter(policy=policy, path=path).delete()
        case 3 | 4:
            Source.objects.get_or_create(policy=policy, path=path)
        case 5:
            PolicyDevice.objects.filter(policy=policy, device=device).delete()
        case 6 | 7:
            PolicyDevice.objects.get_or_create(policy=policy, device=device)
        case 8:
            RestorePoint.objects.filter(device=device, policy=policy, source=path).delete()
        case 9:
            Policy.objects.filter(pk=policy.pk).update(cold_is_enabled=not policy.cold_is_enabled)
        case 10 | 11:
            fallback = chance.choice(("fail", "wait"))
            mode = chance.choice(("hot", "hot", "cold", "both", "out"))
            fields = {"mode": mode, "if_hot_impossible": fallback, "is_shared": chance.random() < 0.4}
            Source.objects.filter(policy=policy, path=path).update(**fields)
        case _:
            made_at = NOW - timedelta(seconds=chance.uniform(0, 60_000))
            maker = chance.choice((policy, policy, policy, None))
            method = chance.choice(("btrfs", "cold+btrfs"))
            for each in PATHS:
                make_point(device, maker, made_at, each, is_complete=chance.random() < 0.5, method=method)


@pytest.mark.postgresql
def test_stored_and_computed_are_the_same_at_every_moment() -> None:
    chance = random.Random(5)
    ids = [make_device(f"d{n}").pk for n in range(4)]
    for n in range(3):
        make_policy(*Device.objects.all()[n : n + 3], name=f"p{n}", paths=PATHS[:n], rpo_hours=7)
    met: set[Standing] = set()
    for _ in range(100):
        change(chance)
        restate(ids)
        for now in turning_points():
            read = read_stored(now)
            assert read == compute(now), now
            met |= set(read.values())
    assert met == set(Standing), "else it compared nothing with nothing"


def test_counting_says_the_same() -> None:
    protected, _ = make_device(), make_device("db-02")
    make_point(protected, make_policy(protected), NOW - timedelta(hours=9))
    assert count_standings(Device.objects.all(), NOW) == {Standing.CLOSE: 1, Standing.UNPROTECTED: 1}
    assert count_standings(Device.objects.filter(name="db-02"), NOW) == {Standing.UNPROTECTED: 1}


def test_what_decides_is_the_source_that_misses_its_target_first() -> None:
    device = make_device()
    hourly = make_policy(device, name="hourly", paths=("/etc",), rpo_hours=1)
    daily = make_policy(device, name="daily", paths=("/srv",), rpo_hours=30)
    make_point(device, hourly, NOW - timedelta(minutes=10), "/etc")
    make_point(device, daily, NOW - timedelta(hours=20), "/srv")
    row = Exposure.objects.get()
    assert row.missed_at == NOW + timedelta(minutes=50)
    assert row.newest_at == NOW - timedelta(minutes=10)
    assert row.close_at == NOW + timedelta(minutes=38)


def is_true() -> bool:
    now = timezone.now()
    return read_stored(now) == compute(now)


def test_a_backup_tells_it() -> None:
    device = make_device()
    policy = make_policy(device)
    assert read_stored(timezone.now())[device.pk] is Standing.NEVER
    point = Point("/srv", "", "", ("/srv",), "a" * 64, "btrfs", Consistency.CRASH, 10, 1, 5, 0, True)
    keep_points(make_run(device, policy=policy), repository_of(device), BackupOutcome((point,), make_facts()))
    now = read_stored(timezone.now())[device.pk]
    assert now is Standing.UNDECIDED and is_true(), "the backup saw /data, and nobody decided about it"
    Source.objects.create(policy=policy, path="/data", mode=Source.OUT)
    restate([device.pk])
    assert read_stored(timezone.now())[device.pk] is Standing.WITHIN and is_true()


def test_saving_and_removing_a_policy_tell_it(operator: Client) -> None:
    ours, other = make_device(), make_device("db-02")
    form = {
        "name": "hourly", "when": "60", "at_time": "02:00", "weekday": "6", "cron": "", "time_zone": "UTC",
        "rpo": "3 h", "is_enabled": "on", "sources-TOTAL_FORMS": "1", "sources-INITIAL_FORMS": "0",
        **source_fields(),
    }  # fmt: skip

    def standings() -> list[Standing]:
        assert is_true()
        now = read_stored(timezone.now())
        return [now[ours.pk], now[other.pk]]

    operator.post("/policies/new/", {**form, "devices": [ours.pk, other.pk]})
    assert standings() == [Standing.NEVER, Standing.NEVER]
    make_point(ours, Policy.objects.get(), timezone.now() - timedelta(hours=1))
    operator.post("/policies/hourly/", {**form, "devices": [ours.pk]})
    assert standings() == [Standing.WITHIN, Standing.UNPROTECTED]
    operator.post("/policies/hourly/", {**form, "rpo": "30 min", "devices": [ours.pk]})
    assert standings() == [Standing.OUTSIDE, Standing.UNPROTECTED]
    operator.post("/policies/hourly/", {**form, "is_enabled": "", "devices": [ours.pk]})
    assert standings() == [Standing.PAUSED, Standing.UNPROTECTED]
    operator.post("/policies/hourly/delete/")
    assert standings() == [Standing.UNPROTECTED, Standing.UNPROTECTED]


def test_what_was_stored_wrongly_is_put_right_within_an_hour(caplog: pytest.LogCaptureFixture) -> None:
    device = make_device()
    make_policy(device)
    Exposure.objects.update(base=Standing.WITHIN)
    assert not is_true()
    with caplog.at_level(logging.WARNING):
        for turn in range(stored.SLOTS):
            repair(NOW + timedelta(seconds=turn * stored.SLOT_S))
    assert is_true()
    assert [record.getMessage() for record in caplog.records] == [
        "How 1 devices stand was stored wrongly. It is right now."
    ]
    assert repair in tick.STEPS


def test_only_what_differs_is_written(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    devices = [make_device(f"d{n}") for n in range(20)]
    policy = make_policy(*devices)
    ids = [device.pk for device in devices]
    assert restate(ids) == 0
    Policy.objects.filter(pk=policy.pk).update(is_enabled=False)
    with django_assert_num_queries(11):  # two of them are the savepoint
        assert restate(ids) == 20


def test_a_device_takes_its_row_along() -> None:
    device = make_device()
    make_policy(device)
    device.delete()
    assert not Exposure.objects.exists()
