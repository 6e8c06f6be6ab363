"""What is paused, and what is decommissioned, is not due; afterwards one run makes up for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backupsite.alerts.models import Notice
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.pausing import end_pauses, pause, paused_now
from backupsite.runs import due
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_policy

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db]

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ADA = Actor("ada")


def make_two(overdue: timedelta = timedelta(hours=9)) -> tuple[Device, Device, Policy]:
    one, two = make_device("d-1"), make_device("d-2")
    policy = make_policy(one, two)
    PolicyDevice.objects.update(next_due=NOW - overdue, assigned_at=NOW - timedelta(days=30))
    return one, two, policy


def list_runs() -> list[str]:
    return list(Run.objects.order_by("number").values_list("device__name", flat=True))


def test_a_paused_device_waits_and_the_others_do_not() -> None:
    one, _, policy = make_two()
    pause(ADA, one, until=NOW + timedelta(hours=1), reason="disk change", now=NOW)
    assert due.start_due(NOW) == 1
    assert list_runs() == ["d-2"]
    paused = paused_now(NOW)
    assert paused.covers(device=one.pk, policy=policy.pk)
    assert not paused.is_fleet


def test_after_a_pause_one_run_makes_up_for_all_that_was_missed() -> None:
    make_two()
    pause(ADA, None, until=NOW + timedelta(days=2), reason="", now=NOW)
    for hours in range(0, 48, 6):
        assert due.start_due(NOW + timedelta(hours=hours)) == 0
    after = NOW + timedelta(days=2, seconds=1)
    assert due.start_due(after) == 2
    Run.objects.update(state=State.SUCCEEDED)
    assert due.start_due(after) == 0


def test_a_pause_that_a_person_ends_is_over_at_once() -> None:
    _, _, policy = make_two()
    pause(ADA, policy, until=NOW + timedelta(days=2), reason="", now=NOW)
    assert due.start_due(NOW) == 0
    assert end_pauses(ADA, policy, now=NOW) == 1
    assert due.start_due(NOW) == 2


def test_nobody_is_told_that_a_paused_device_is_overdue() -> None:
    one, _, _ = make_two()
    pause(ADA, one, until=NOW + timedelta(hours=1), reason="", now=NOW)
    assert due.tell_overdue(NOW) == 1
    assert [notice.title for notice in Notice.objects.all()] == ["d-2: backup overdue"]
    assert due.tell_overdue(NOW + timedelta(hours=1)) == 1


def test_a_decommissioned_device_gets_no_run_and_no_alarm() -> None:
    one, two, _ = make_two()
    Device.objects.filter(pk__in=[one.pk, two.pk]).update(retired_at=NOW)
    assert due.start_due(NOW) == 0
    assert due.tell_overdue(NOW) == 0
