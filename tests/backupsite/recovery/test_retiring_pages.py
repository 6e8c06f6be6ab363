"""Pages about what stays and what goes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from backupsite.accounts.models import AuditEvent
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery.models import RestorePoint, RetentionHold
from backupsite.recovery.retiring import put_to_rest, retire
from backupsite.recovery.retiring_holds import hold
from tests.backupsite.making import make_device, make_point, make_policy

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALL = {
    "keep_last": "4", "keep_hourly": "24", "keep_daily": "14", "keep_weekly": "8", "keep_monthly": "12",
    "keep_yearly": "0", "keep_min": "2 days", "keep_max": "", "rest": "7 days",
}  # fmt: skip
TWO = ALL | {"keep_last": "2", "keep_hourly": "0", "keep_daily": "0", "keep_weekly": "0", "keep_monthly": "0",
             "keep_min": "0"}  # fmt: skip


def make_history(count: int = 5, **fields: Any) -> tuple[Device, Policy, list[RestorePoint]]:
    device = make_device()
    policy, now = make_policy(device, **fields), timezone.now()
    return device, policy, [make_point(device, policy, now - number * HOUR) for number in range(count)]


def resting() -> int:
    return RestorePoint.objects.filter(resting_since__isnull=False).count()


def test_strangers_and_wrong_methods_get_nowhere(operator: Client, stranger: Client) -> None:
    device, policy, points = make_history(1)
    held = hold(device, RetentionHold.PERSON, "Wait.", timezone.now())
    assert held is not None
    pages = [
        reverse("retention"),
        reverse("device-retention", args=[device.slug]),
        reverse("policy-retention", args=[policy.slug]),
        reverse("point-remove", args=[points[0].pk]),
    ]
    for url in pages:
        assert operator.get(url).status_code == 200
        assert stranger.get(url).status_code == 302
    for url in (reverse("hold-lift", args=[held.pk]), reverse("point-keep", args=[points[0].pk])):
        assert operator.get(url).status_code == 405
        assert stranger.post(url).status_code == 302
    assert operator.post(reverse("point-keep", args=[points[0].pk]), {"then": "burn"}).status_code == 400


def test_the_rules_of_a_policy_say_what_they_mean(operator: Client) -> None:
    _, policy, _ = make_history()
    url = reverse("policy-retention", args=[policy.slug])
    page = operator.get(url).content.decode()
    assert "Nothing is removed now" in page and "<svg" in page and "moments</strong> of each source" in page
    assert url in operator.get(policy.get_absolute_url()).content.decode()
    page = operator.post(url, {**TWO, "then": "look"}).content.decode()
    assert "This removes 3 restore points now" in page
    policy.refresh_from_db()
    assert policy.keep_last == 4, "looking saves nothing"


def test_rules_that_remove_something_are_saved_when_a_person_agreed(operator: Client) -> None:
    device, policy, _ = make_history()
    url = reverse("policy-retention", args=[policy.slug])
    page = operator.post(url, {**TWO, "then": "save"}).content.decode()
    assert "Save, and remove them" in page and 'name="agreed" value="3"' in page
    assert "of 1 device" in page
    policy.refresh_from_db()
    assert policy.keep_last == 4
    make_point(device, policy, timezone.now() - 9 * HOUR)
    page = operator.post(url, {**TWO, "then": "save", "agreed": "3"}).content.decode()
    assert 'name="agreed" value="4"' in page, "it became more meanwhile: asked again"
    assert operator.post(url, {**TWO, "then": "save", "agreed": "4"})["Location"] == url
    policy.refresh_from_db()
    assert (policy.keep_last, policy.keep_min, policy.keep_max) == (2, timedelta(0), None)
    assert AuditEvent.objects.get(verb="policy.retention").detail["goes"] == 4


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({**TWO, "keep_last": "0"}, "This keeps nothing but the newest"),
        ({"keep_daily": "-1"}, "Write a whole number; 0 is none."),
        ({"keep_daily": "99999"}, "Write at most 10,000."),
        ({"keep_daily": "x"}, "Write a whole number; 0 is none."),
        ({"keep_min": "soon"}, "Write a whole number and a unit"),
        ({"keep_min": "30 d", "keep_max": "7 d"}, "The maximum age must be above the minimum age."),
        ({"rest": "1 h"}, "Write something between 1 d and 366 days."),
        ({"keep_max": "<b>"}, "Write a whole number and a unit"),
    ],
)
def test_bad_rules_are_refused_at_their_field(operator: Client, typed: dict[str, str], said: str) -> None:
    policy = make_policy()
    answer = operator.post(reverse("policy-retention", args=[policy.slug]), {**ALL, **typed, "then": "save"})
    assert answer.status_code == 422
    assert said in answer.content.decode() and "<b>" not in answer.content.decode()


def test_what_stays_of_a_device_and_why(operator: Client) -> None:
    device, _, points = make_history(keep_min=timedelta(0), keep_hourly=0, keep_daily=2, keep_weekly=0,
                                     keep_monthly=0, keep_last=1)  # fmt: skip
    RestorePoint.objects.filter(pk=points[4].pk).update(is_protected=True, protected_by="<i>ada")
    page = operator.get(reverse("device-retention", args=[device.slug])).content.decode()
    assert "the newest good one" in page and "protected by &lt;i&gt;ada" in page and "<i>ada" not in page
    assert "Nothing keeps it" in page and "At the next look" in page
    assert "the newest of the day" in page


def test_what_holds_removals_is_lifted_by_a_button(operator: Client) -> None:
    device, _, _ = make_history()
    of_device = hold(device, RetentionHold.ANOMALY, "It holds 0 B; before there were 1 GB.", timezone.now())
    of_fleet = hold(None, RetentionHold.CLOCK, "The clock jumped.", timezone.now())
    assert of_device is not None and of_fleet is not None
    page = operator.get(reverse("device-retention", args=[device.slug])).content.decode()
    assert "It holds 0 B" in page and "The clock jumped." in page
    assert operator.get(reverse("retention")).content.decode().count("All is well") == 2
    for held in (of_device, of_fleet):
        answer = operator.post(reverse("hold-lift", args=[held.pk]))
        assert answer.status_code == 302
        held.refresh_from_db()
        assert held.lifted_by == "ada"
    assert AuditEvent.objects.filter(verb="retention.lift").count() == 2


def test_a_restore_point_is_protected_and_held(operator: Client) -> None:
    device, policy, points = make_history()
    beside = make_point(device, policy, points[3].made_at, part="other")
    url = reverse("point-keep", args=[points[3].pk])
    day = (timezone.localdate() + 30 * DAY).isoformat()
    operator.post(url, {"then": "protect"})
    operator.post(url, {"then": "hold", "until": day, "reason": "audit"})
    beside.refresh_from_db()
    assert beside.is_protected and beside.protected_by == "ada", "all streams of it"
    assert beside.held_until is not None and beside.hold_reason == "audit"
    page = operator.get(points[3].get_absolute_url()).content.decode()
    assert "Protected by ada" in page
    for bad in ("2001-01-01", "x", "", "9999-12-31"):
        operator.post(url, {"then": "hold", "until": bad})
    points[3].refresh_from_db()
    assert points[3].held_until == beside.held_until
    assert "It is protected." in operator.get(reverse("point-remove", args=[points[3].pk])).content.decode()
    for then in ("unprotect", "release"):
        operator.post(url, {"then": then})
    again = RestorePoint.objects.get(pk=points[3].pk)
    assert not again.is_protected and again.held_until is None
    verbs = ["point.protect", "point.hold", "point.unprotect", "point.release"]
    assert list(AuditEvent.objects.order_by("pk").values_list("verb", flat=True)) == verbs


def test_a_restore_point_is_removed_by_typing_the_name_and_had_back(operator: Client) -> None:
    device, _, points = make_history()
    url, point = reverse("point-remove", args=[points[0].pk]), points[0]
    assert operator.post(url, {"typed": "web"}).status_code == 422
    assert resting() == 0
    assert operator.post(url, {"typed": device.name})["Location"] == point.get_absolute_url()
    assert resting() == 1
    page = operator.get(point.get_absolute_url()).content.decode()
    assert "Have it back" in page and "by ada" in page
    for name in ("points", "device-points"):
        listed = operator.get(reverse(name, args=[device.slug] if name != "points" else []))
        assert point.get_absolute_url() not in listed.content.decode()
    assert "1 restore point was removed and can still be had back" in listed.content.decode()
    proposed = operator.get(reverse("device-restore", args=[device.slug])).content.decode()
    assert str(point.pk) not in proposed
    device.exposure.refresh_from_db()
    assert device.exposure.newest_at == points[1].made_at, "how it stands follows at once"
    operator.post(reverse("point-keep", args=[point.pk]), {"then": "back"})
    assert resting() == 0
    device.exposure.refresh_from_db()
    assert device.exposure.newest_at == point.made_at


def test_the_last_good_one_is_never_removed_by_hand(operator: Client) -> None:
    device, _, points = make_history(2)
    RestorePoint.objects.filter(pk=points[0].pk).update(is_complete=False)
    url = reverse("point-remove", args=[points[1].pk])
    assert "It is the last good restore point" in operator.get(url).content.decode()
    answer = operator.post(url, {"typed": device.name})
    assert answer.status_code == 422 and resting() == 0


def test_what_the_rules_let_go_and_a_person_had_back_does_not_go_again(operator: Client) -> None:
    device, _, points = make_history(keep_min=timedelta(0), keep_hourly=0, keep_daily=0, keep_weekly=0,
                                     keep_monthly=0, keep_last=1)  # fmt: skip
    now = timezone.now()
    retire(device, now)
    assert resting() == 4
    operator.post(reverse("point-keep", args=[points[2].pk]), {"then": "back"})
    retire(device, now)
    assert resting() == 3
    put_to_rest([points[2]], "policy", now, DAY)
    RestorePoint.objects.filter(pk=points[3].pk).update(rests_until=now - HOUR)
    answer = operator.post(reverse("point-keep", args=[points[3].pk]), {"then": "back"}, follow=True)
    assert "It is too late" in answer.content.decode()
