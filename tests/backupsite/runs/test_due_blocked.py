"""What is due in blocked hours starts once, at their end; a console that was off makes no burst of it."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest

from backupsite.fleet.models import Device
from backupsite.policies.models import BlockedHours, Policy, PolicyDevice, Source
from backupsite.policies.saving import plan_next
from backupsite.runs import due
from backupsite.runs.models import Run
from backupsite.runs.states import State

# A Monday.
DAY = datetime(2026, 11, 23, tzinfo=UTC)
NINE, NOON, SIX = DAY + timedelta(hours=9), DAY + timedelta(hours=12), DAY + timedelta(hours=18)


@pytest.fixture
def policy(db: None) -> Policy:
    made = Policy.objects.create(
        name="p", slug="p", schedule=Policy.EVERY, every_minutes=60, spread_minutes=0
    )
    Source.objects.create(policy=made, path="/etc")
    BlockedHours.objects.create(policy=made, weekdays="01234", begins=time(8), ends=time(18))
    PolicyDevice.objects.create(policy=made, device=Device.objects.create(name="d", slug="d"))
    return made


def row(policy: Policy) -> PolicyDevice:
    return PolicyDevice.objects.get(policy=policy)


def test_a_saved_policy_is_due_at_the_end_of_its_blocked_hours(policy: Policy) -> None:
    plan_next(policy, NINE)
    assert row(policy).next_due == SIX


def test_what_was_missed_while_the_console_was_off_is_one_run_at_the_end_of_the_hours(policy: Policy) -> None:
    PolicyDevice.objects.update(next_due=DAY - timedelta(days=3))
    assert due.start_due(NOON) == 0
    assert row(policy).next_due == SIX
    assert due.start_due(SIX) == 1
    Run.objects.update(state=State.SUCCEEDED)
    assert due.start_due(SIX) == 0
    assert row(policy).next_due == SIX + timedelta(hours=1)


def test_hours_that_were_blocked_after_a_run_was_planned_hold_it(policy: Policy) -> None:
    PolicyDevice.objects.update(next_due=NINE)
    assert due.start_due(NINE) == 0
    assert row(policy).next_due == SIX


def test_a_missed_cold_window_is_not_made_up_for_at_the_end_of_blocked_hours(policy: Policy) -> None:
    Source.objects.update(mode=Source.BOTH)
    Policy.objects.update(
        cold_is_enabled=True, cold_schedule=Policy.DAILY, cold_at_time=time(3), schedule=Policy.MANUAL
    )
    policy.refresh_from_db()
    plan_next(policy, DAY)
    assert row(policy).next_cold_due == DAY + timedelta(hours=3)
    assert due.start_due(NOON) == 0
    assert row(policy).next_cold_due == DAY + timedelta(days=1, hours=3)


def test_a_cold_window_at_the_edge_of_blocked_hours_waits_for_it(policy: Policy) -> None:
    BlockedHours.objects.update(begins=time(2), ends=time(4))
    Source.objects.update(mode=Source.COLD)
    Policy.objects.update(
        cold_is_enabled=True, cold_schedule=Policy.DAILY, cold_at_time=time(3), schedule=Policy.MANUAL
    )
    policy.refresh_from_db()
    plan_next(policy, DAY)
    assert row(policy).next_cold_due == DAY + timedelta(hours=4)
    assert due.start_due(DAY + timedelta(hours=4)) == 1
    assert Run.objects.get().request == {"window": "cold"}


def test_a_policy_that_was_read_before_it_was_changed_is_planned_as_it_is_stored(policy: Policy) -> None:
    read = Policy.objects.prefetch_related("sources", "blocked_hours").get(pk=policy.pk)
    BlockedHours.objects.update(ends=time(20))
    plan_next(read, NINE)
    assert row(policy).next_due == DAY + timedelta(hours=20)
