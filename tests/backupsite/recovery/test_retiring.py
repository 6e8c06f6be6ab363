"""Restore points rest by the rules, come back, and are forgotten by their ids; holds and the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from backupsite.alerts.models import Notice
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device
from backupsite.policies.effective import KEPT, VALUES
from backupsite.policies.models import Override, Policy, PolicyDevice
from backupsite.policies.selecting import refresh_policy
from backupsite.recovery import retiring, retiring_clock
from backupsite.recovery.models import Listing, RestorePoint, RetentionHold
from backupsite.recovery.retiring_clock import Reading, find_jump, watch
from backupsite.recovery.retiring_holds import hold, lift
from backupsite.recovery.retiring_logs import logs_due, logs_forgotten
from backupsite.recovery.retiring_models import ClockMark
from backupsite.recovery.wal_models import WalBatch
from backupsite.runs.models import Run
from tests.backupsite.making import make_device, make_point, make_policy, make_run, repository_of
from tests.backupsite.recovery.logs import make_stream

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
# Nothing but the newest two.
TWO: dict[str, Any] = {
    "keep_last": 2,
    **dict.fromkeys(("keep_hourly", "keep_daily", "keep_weekly", "keep_monthly"), 0),
    "keep_min": 0 * HOUR,
}


@pytest.fixture
def now() -> datetime:
    """A moment at which the tick has seen the clock."""
    at = timezone.now()
    watch(Reading(at, "boot", 1000.0))
    return at


def make_history(now: datetime, count: int = 5, **fields: Any) -> tuple[Device, Policy, list[RestorePoint]]:
    """A device with so many restore points, the newest first, an hour apart."""
    device = make_device()
    policy = make_policy(device, **{**TWO, **fields})
    return device, policy, [make_point(device, policy, now - n * HOUR) for n in range(count)]


def resting() -> set[UUID]:
    return set(RestorePoint.objects.exclude(resting_since=None).values_list("pk", flat=True))


def ids(points: list[RestorePoint]) -> set[UUID]:
    return {point.pk for point in points}


def test_what_no_rule_keeps_rests_then_is_due_then_is_gone(now: datetime) -> None:
    device, policy, points = make_history(now)
    other = make_point(make_device("other"), policy, now - 100 * DAY)
    assert retiring.retire(device, now) == 3
    assert resting() == ids(points[2:])
    assert retiring.retire(device, now) == 0
    first = RestorePoint.objects.get(pk=points[2].pk)
    assert (first.resting_why, first.rests_until) == ("policy", now + policy.rest)
    repository = repository_of(device)
    assert retiring.due_for_forgetting(repository, now + policy.rest - HOUR) == []
    later = now + policy.rest
    ClockMark.objects.update(seen_at=later)
    due = retiring.due_for_forgetting(repository, later)
    assert ids(due) == ids(points[2:])
    Listing.objects.create(point=due[0], folder_key="x")
    assert retiring.forgotten([*due, points[0], other]) == 3, "only what rests goes, whatever is named"
    assert ids(list(RestorePoint.objects.all())) == {*ids(points[:2]), other.pk}
    assert retiring.forgotten(due) == 0


def test_what_rests_can_be_had_back_until_its_rest_is_over(now: datetime) -> None:
    device, policy, points = make_history(now)
    retiring.retire(device, now)
    assert retiring.have_back(points[2:3], now) == 1
    assert resting() == ids(points[3:])
    assert retiring.have_back(points[3:], now + policy.rest) == 0


def test_a_rest_is_never_shorter_than_a_day(now: datetime) -> None:
    device, _, points = make_history(now, rest=timedelta(0))
    retiring.retire(device, now)
    assert RestorePoint.objects.get(pk=points[4].pk).rests_until == now + DAY


def test_protected_and_held_points_stay_and_are_never_due(now: datetime) -> None:
    device, _, points = make_history(now)
    RestorePoint.objects.filter(pk=points[4].pk).update(is_protected=True)
    RestorePoint.objects.filter(pk=points[3].pk).update(held_until=now + 30 * DAY)
    retiring.retire(device, now)
    assert resting() == {points[2].pk}
    # Even one that somehow rests is not handed out once it is protected.
    RestorePoint.objects.filter(pk=points[2].pk).update(is_protected=True, rests_until=now - HOUR)
    assert retiring.due_for_forgetting(repository_of(device), now) == []


def test_streams_and_what_was_held_together_stay_or_go_together(now: datetime) -> None:
    device, policy, points = make_history(now, count=3)
    old = now - 9 * DAY
    run = make_run(device)
    together = [
        make_point(device, policy, old, source, part=part, group="shop", run=run)
        for source, part in (("/srv", ""), ("postgresql:15/main", "a"), ("postgresql:15/main", "b"))
    ]
    retiring.retire(device, now)
    assert resting() == {points[2].pk}, "the database is the last of its source: the files stay with it"
    make_point(device, policy, now - HOUR, "postgresql:15/main")
    make_point(device, policy, now - 2 * HOUR, "postgresql:15/main")
    retiring.retire(device, now)
    assert resting() == {points[2].pk, *ids(together)}


def test_histories_of_policies_and_of_cold_copies_are_their_own(now: datetime) -> None:
    device, policy, points = make_history(now)
    cold = make_point(device, policy, now - 30 * DAY, method="cold+btrfs")
    other = make_point(device, make_policy(device, name="other", **TWO), now - 40 * DAY)
    nobodys = make_point(device, None, now - 4000 * DAY)
    retiring.retire(device, now)
    assert resting() == ids(points[2:])
    assert {cold.pk, other.pk, nobodys.pk}.isdisjoint(resting())


def test_what_a_restore_saved_stays_while_it_can_be_undone(now: datetime) -> None:
    device = make_device()
    run = make_run(device, kind=Run.RESTORE)
    kept = make_point(device, None, now - 29 * DAY, run=run)
    gone = make_point(device, None, now - 31 * DAY, run=run)
    retiring.retire(device, now)
    assert resting() == {gone.pk} != {kept.pk}


def test_incomplete_and_damaged_points_never_push_out_good_ones(now: datetime) -> None:
    device, policy, points = make_history(now - DAY, count=2)
    for number in range(50):
        bad: dict[str, Any] = {"is_complete": False} if number % 2 else {"damage": "a pack is missing"}
        make_point(device, policy, now - timedelta(minutes=number), **bad)
    retiring.retire(device, now)
    assert resting().isdisjoint(ids(points))


def test_one_snapshot_of_several_points_is_forgotten_with_the_last(now: datetime) -> None:
    _, _, points = make_history(now)
    RestorePoint.objects.filter(pk__in=ids(points[1:4])).update(restic_id="a" * 64)
    found = list(RestorePoint.objects.filter(pk__in=ids(points[2:])))
    assert retiring.forgettable(found) == [points[4].restic_id]
    RestorePoint.objects.filter(pk=points[1].pk).update(restic_id="b" * 64)
    assert retiring.forgettable(found) == sorted(["a" * 64, points[4].restic_id])


def test_the_base_of_a_followed_log_stays_and_its_older_log_goes(now: datetime) -> None:
    device = make_device()
    stream = make_stream(device)
    policy = Policy.objects.get()
    Policy.objects.update(**TWO)
    source, repository = stream.source, repository_of(device)
    run = make_run(device, started_at=now - 5 * DAY)
    base = make_point(device, policy, now - 5 * DAY, source, run=run)
    for number in range(3):
        make_point(device, policy, now - number * HOUR, source, method="dump")

    def keep(at: datetime) -> WalBatch:
        return WalBatch.objects.create(
            stream=stream, repository=repository, restic_id=at.isoformat(), piece={}, folder="/",
            size_bytes=1, stored_at=at,
        )  # fmt: skip

    old, new = keep(now - 6 * DAY), keep(now - 4 * DAY)
    retiring.retire(device, now)
    assert base.pk not in resting() and len(resting()) == 1
    assert logs_due(repository, now) == [old]
    assert logs_forgotten([old]) == 1
    assert list(WalBatch.objects.all()) == [new]
    RestorePoint.objects.filter(pk=base.pk).delete()
    assert logs_due(repository, now) == [], "it is still wanted: the next base may come"


# ---- holds and the clock -----------------------------------------------------------------------------------


def test_an_emptied_copy_holds_the_device_until_a_person_lifts_it(now: datetime) -> None:
    device, policy, points = make_history(now - HOUR)
    RestorePoint.objects.update(size_bytes=10_000_000, file_count=100)
    make_point(device, policy, now)  # 1000 bytes in 3 files
    for _ in range(2):
        assert retiring.retire(device, now) == 0
    held = RetentionHold.objects.get()
    assert (held.device, held.cause) == (device, RetentionHold.ANOMALY)
    assert "It holds 1.0" in held.text and "before there were 10.0" in held.text
    assert (
        Notice.objects.get(kind="retention-hold").title == "Nothing is removed of db-01 until somebody looks"
    )
    RestorePoint.objects.filter(pk=points[4].pk).update(resting_since=now, rests_until=now)
    assert retiring.due_for_forgetting(repository_of(device), now) == []
    assert lift(Actor("ada"), held, now) and not lift(Actor("ada"), held, now)
    assert retiring.retire(device, now) == 3
    assert ids(retiring.due_for_forgetting(repository_of(device), now)) == {points[4].pk}


def test_an_unusual_change_is_told_right_after_the_backup(now: datetime) -> None:
    device, policy, _ = make_history(now - HOUR)
    RestorePoint.objects.update(file_count=5000)
    make_point(device, policy, now)
    retiring.after_run(device, make_run(device, kind=Run.BACKUP, ended_at=now))
    assert RetentionHold.objects.filter(device=device, cause=RetentionHold.ANOMALY).exists()
    assert not resting()


def test_after_a_backup_what_no_rule_keeps_rests(now: datetime) -> None:
    device, _, points = make_history(now)
    retiring.after_run(device, make_run(device, kind=Run.RESTORE))
    assert not resting()
    retiring.after_run(device, make_run(device, kind=Run.BACKUP))
    assert resting() == ids(points[2:])


START = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("boot", "passed", "up", "jumped"),
    [
        ("boot", 10 * DAY, 10 * DAY, False),
        ("boot", HOUR + timedelta(minutes=4), HOUR, False),
        ("boot", HOUR + timedelta(minutes=6), HOUR, True),
        ("boot", 365 * DAY, HOUR, True),
        ("boot", -HOUR, HOUR, True),
        ("other", 2 * DAY, HOUR, False),
        ("other", -HOUR, HOUR, True),
        ("other", 365 * DAY, HOUR, True),
    ],
)
def test_a_jump_of_the_clock_is_seen(boot: str, passed: timedelta, up: timedelta, jumped: bool) -> None:
    mark = ClockMark(boot_id="boot", began_at=START, began_s=1000.0, seen_at=START)
    said = find_jump(mark, Reading(START + passed, boot, 1000.0 + up.total_seconds()))
    assert bool(said) is jumped, said


def test_many_small_steps_are_a_jump() -> None:
    watch(Reading(START, "boot", 0.0))
    for number in range(1, 20):  # each minute the clock is set forward by two more
        watch(Reading(START + timedelta(minutes=3 * number), "boot", 60.0 * number))
    assert RetentionHold.objects.get().cause == RetentionHold.CLOCK


def test_after_a_jump_nothing_rests_and_nothing_is_due(now: datetime) -> None:
    device, policy, points = make_history(now)
    retiring.put_to_rest(points[4:], "ada", now, policy.rest)
    jumped = now + 400 * DAY
    assert retiring.due_for_forgetting(repository_of(device), jumped) == [], "before any tick has seen it"
    watch(Reading(jumped, "boot", 1010.0))
    held = RetentionHold.objects.get()
    assert "forward by 400 days" in held.text
    assert not retiring_clock.is_trusted(jumped)
    assert retiring.retire(device, jumped) == 0
    assert retiring.due_for_forgetting(repository_of(device), jumped) == []
    # It was set right, and a person says so.
    watch(Reading(now, "boot", 1020.0))
    lift(Actor("ada"), held, now)
    assert retiring_clock.is_trusted(now)
    assert retiring.due_for_forgetting(repository_of(device), now) == []


def test_without_a_tick_nothing_is_due() -> None:
    at = timezone.now()
    device, policy, points = make_history(at)
    retiring.put_to_rest(points[4:], "ada", at - 9 * DAY, policy.rest)
    assert retiring.due_for_forgetting(repository_of(device), at) == []


def test_a_tick_retires_the_devices_whose_turn_it_is(now: datetime) -> None:
    device, _, _ = make_history(now)
    slot = retiring.SLOT_S * (device.pk % retiring.SLOTS)
    epoch = int(now.timestamp()) // (retiring.SLOT_S * retiring.SLOTS) * retiring.SLOT_S * retiring.SLOTS
    turn = datetime.fromtimestamp(epoch + slot, UTC)
    ClockMark.objects.update(seen_at=turn + DAY)
    retiring.look(turn + DAY + timedelta(seconds=retiring.SLOT_S))
    assert not resting()
    retiring.look(turn + DAY)
    assert len(resting()) == 3


def test_a_hold_by_a_person_of_the_whole_fleet(now: datetime) -> None:
    device, _, _ = make_history(now)
    assert hold(None, RetentionHold.PERSON, "The auditors are here.", now) is not None
    assert hold(None, RetentionHold.PERSON, "Again.", now) is None
    assert retiring.retire(device, now) == 0


def test_who_leaves_a_policy_with_rules_of_its_own_is_held(now: datetime) -> None:
    device, policy, _ = make_history(now)
    rows = PolicyDevice.objects.filter(device=device)
    rows.update(is_by_name=False)
    kept = VALUES[KEPT].write(policy)
    Override.objects.create(assignment=rows.get(), field=KEPT, value=kept, made_by="ada")
    assert refresh_policy(policy, now) == {device.pk}
    held = RetentionHold.objects.get()
    assert (held.device, held.cause) == (device, RetentionHold.PERSON)
    assert retiring.retire(device, now) == 0 and not resting()
    lift(Actor("ada"), held, now)
    assert retiring.retire(device, now)


def test_who_leaves_a_policy_with_another_own_value_is_not_held(now: datetime) -> None:
    device, policy, _ = make_history(now)
    rows = PolicyDevice.objects.filter(device=device)
    rows.update(is_by_name=False)
    Override.objects.create(assignment=rows.get(), field="rpo", value="1 h", made_by="ada")
    assert refresh_policy(policy, now) == {device.pk}
    assert not RetentionHold.objects.exists()
