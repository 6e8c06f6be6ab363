"""A pause is a standing: it excuses what is missed because of it, says until when, and always ends."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.console.pausing_page import Of, restate_paused
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device
from backupsite.policies.models import Pause, Policy
from backupsite.policies.pausing import pause
from backupsite.recovery import stored
from backupsite.recovery.exposure import Standing, judge_devices
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.stored import repair, restate, with_standing
from tests.backupsite.making import make_device, make_point, make_policy

pytestmark = pytest.mark.django_db
ADA = Actor("ada")


def make_protected(age_hours: float) -> tuple[Device, Policy]:
    device = make_device(reached_at=timezone.now())
    policy = make_policy(device, rpo_hours=10)
    make_point(device, policy, timezone.now() - timedelta(hours=age_hours))
    return device, policy


def hold(of: Of, hours: float = 24, began_hours: float = 0) -> Pause:
    now = timezone.now()
    made = pause(ADA, of, until=now + timedelta(hours=hours), reason="", now=now)
    if began_hours:
        Pause.objects.filter(pk=made.pk).update(made_at=now - timedelta(hours=began_hours))
    restate_paused(of)
    return made


def standing(at: datetime | None = None) -> Standing:
    """How the device stands by what is stored, which is how it stands by its restore points."""
    now = at if at is not None else timezone.now()
    (row,) = with_standing(Device.objects.all(), now).values_list("pk", "standing")
    assert judge_devices(now, [row[0]])[row[0]].standing == row[1]
    return Standing(row[1])


@pytest.mark.parametrize("of", ["device", "policy", "fleet"])
def test_what_is_missed_because_of_a_pause_is_excused_until_its_end(of: str) -> None:
    device, policy = make_protected(age_hours=8.5)
    assert standing() is Standing.CLOSE
    made = hold({"device": device, "policy": policy, "fleet": None}[of])
    assert standing() is Standing.PAUSED
    assert standing(made.until - timedelta(seconds=1)) is Standing.PAUSED
    assert standing(made.until) is Standing.OUTSIDE


def test_what_was_missed_before_it_and_what_was_never_made_are_not_excused() -> None:
    device, _ = make_protected(age_hours=11)
    hold(device)
    assert standing() is Standing.OUTSIDE
    hold(device, hours=48, began_hours=2)
    restate([device.pk])
    assert standing() is Standing.PAUSED, "it was missed an hour ago, during the pause"
    RestorePoint.objects.update(damage="pack is gone")
    restate([device.pk])
    assert standing() is Standing.NEVER


def test_a_pause_that_is_made_longer_is_one_pause() -> None:
    device, _ = make_protected(age_hours=11)
    hold(device, began_hours=2)
    assert standing() is Standing.PAUSED
    hold(device, hours=48)
    assert standing() is Standing.PAUSED


def test_of_several_pauses_each_excuses_only_what_was_missed_during_it() -> None:
    device, policy = make_protected(age_hours=11)
    early, late = hold(device, hours=5, began_hours=2), hold(policy, hours=50)
    restate([device.pk])
    assert standing() is Standing.PAUSED
    assert standing(early.until) is standing(late.until) is Standing.OUTSIDE


def test_the_pages_say_until_when(operator: Client) -> None:
    device, _ = make_protected(age_hours=8.5)
    operator.post("/pause/?device=db-01", {"device": device.slug, "length": "4h", "reason": ""})
    assert Pause.objects.count() == 1 and standing() is Standing.PAUSED
    assert "Paused until" in operator.get("/devices/?state=paused").content.decode()
    assert "Paused until" in operator.get("/devices/db-01/").content.decode()
    operator.post("/pause/end/", {"device": device.slug})
    assert standing() is Standing.CLOSE


def test_a_pause_that_ended_by_itself_is_tidied_without_a_cry(caplog: pytest.LogCaptureFixture) -> None:
    device, _ = make_protected(age_hours=11)
    made = hold(device, began_hours=2)
    over = timezone.now() - timedelta(seconds=1)
    Pause.objects.filter(pk=made.pk).update(until=over)
    device.exposure.refresh_from_db()
    type(device.exposure).objects.update(paused_until=over, missed_at=over, close_at=over)
    assert standing() is Standing.OUTSIDE
    with caplog.at_level(logging.WARNING):
        for turn in range(stored.SLOTS):
            repair(timezone.now() + timedelta(seconds=turn * stored.SLOT_S))
    assert not caplog.records
    device.exposure.refresh_from_db()
    assert device.exposure.paused_until is None and standing() is Standing.OUTSIDE
