"""Values of a policy on one device: the policy's or the device's own, wherever they are read."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.accounts.models import AuditEvent
from backupsite.fleet.devices import Actor
from backupsite.policies.effective import VALUES, apply, effective, on_device
from backupsite.policies.models import Override, Policy, PolicyDevice
from backupsite.policies.override_forms import FORMS
from backupsite.policies.overriding import find_differing, remove_override, set_override
from backupsite.policies.retention import Rules
from backupsite.policies.saving import plan_next
from backupsite.policies.schedule import Schedule
from backupsite.recovery import retiring
from backupsite.recovery.backups import limits_of
from backupsite.recovery.exposure import Standing, list_sources
from backupsite.recovery.retention_outlook import count_going
from backupsite.recovery.stored import restate
from backupsite.runs.due import start_due, tell_overdue
from backupsite.runs.models import Run
from backupsite.runs.requests import SCHEDULE, find_place
from tests.backupsite.making import make_device, make_point, make_policy

ACTOR = Actor("ada", "")
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEPT = {
    "last": 1, "hourly": 0, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0,
    "nothing younger than": "0 min", "nothing older than": "none",
}  # fmt: skip
STORED: list[tuple[str, Any, dict[str, Any]]] = [
    ("rpo", "30 min", {"rpo": timedelta(minutes=30)}),
    ("rto", "none", {"rto": None}),
    ("schedule", {"every": "4 h"}, {"schedule": "every", "every_minutes": 240}),
    ("schedule", {"daily": "02:30"}, {"schedule": "daily", "at_time": time(2, 30)}),
    ("schedule", {"weekly": "Sunday 03:00"}, {"schedule": "weekly", "weekday": 6}),
    ("schedule", {"cron": "30 2 * * 1-5"}, {"schedule": "cron", "cron": "30 2 * * 1-5"}),
    ("schedule", {"by hand": True}, {"schedule": "manual"}),
    ("keep", KEPT, {"keep_last": 1, "keep_daily": 0, "keep_min": timedelta(0), "keep_max": None}),
    ("impact", "fast", {"impact": "fast"}),
    ("upload_mb_s", "20 MB/s", {"upload_mb_s": 20}),
    ("priority", "before others", {"priority": 0}),
]


@pytest.mark.parametrize(("name", "stored", "fields"), STORED)
def test_what_is_stored_is_read_and_written_as_the_same(
    name: str, stored: Any, fields: dict[str, Any]
) -> None:
    policy = Policy(name="nightly", rto=timedelta(hours=1))
    made = apply(policy, {name: stored})
    assert {field: getattr(made, field) for field in fields} == fields
    assert VALUES[name].write(made) == stored
    assert policy.rpo == timedelta(hours=26) and policy.impact == "gentle"  # the policy itself stays


def test_every_value_has_a_form_and_an_origin() -> None:
    assert FORMS.keys() == VALUES.keys()
    shown = effective(Policy(name="nightly"), [Override(field="rpo", value="30 min")])
    assert [each.value.name for each in shown] == list(VALUES)
    (own,) = [each for each in shown if each.is_own]
    assert (own.value.name, own.words, own.of_policy) == ("rpo", "30 min", "26 h")


def _override(policy: Policy, device: Any, **values: Any) -> PolicyDevice:
    row = PolicyDevice.objects.get(policy=policy, device=device)
    for name, stored in values.items():
        set_override(ACTOR, row, VALUES[name], stored, NOW)
    restate([device.pk])
    return row


@pytest.mark.django_db
def test_the_target_of_one_device_decides_how_it_stands_and_when_it_is_told() -> None:
    one, other = make_device("db-01"), make_device("db-02")
    policy = make_policy(one, other, rpo_hours=10)
    made_at = timezone.now() - timedelta(hours=2)
    for device in (one, other):
        make_point(device, policy, made_at)
    PolicyDevice.objects.update(succeeded_at=made_at)
    _override(policy, one, rpo="1 h")
    stands = {each.device_id: (each.rpo, each.standing) for each in list_sources(timezone.now())}
    assert stands[one.pk] == (timedelta(hours=1), Standing.OUTSIDE)
    assert stands[other.pk] == (timedelta(hours=10), Standing.WITHIN)
    assert tell_overdue(timezone.now()) == 1
    told = PolicyDevice.objects.exclude(overdue_told_at=None)
    assert [row.device for row in told] == [one]
    # The policy's own target, and a longer one of a device: it is not told by the policy's.
    Policy.objects.update(rpo=timedelta(hours=1))
    _override(policy, one, rpo="20 h")
    assert tell_overdue(timezone.now()) == 1
    assert not PolicyDevice.objects.filter(device=one).exclude(overdue_told_at=None)


@pytest.mark.django_db
def test_the_schedule_of_one_device_says_when_it_is_due_and_what_comes_next() -> None:
    one, other = make_device("db-01"), make_device("db-02")
    policy = make_policy(one, other, every_minutes=60, spread_minutes=0)
    row = _override(policy, one, schedule={"daily": "02:30"})
    plan_next(policy, NOW)
    due = dict(PolicyDevice.objects.values_list("device_id", "next_due"))
    assert due[one.pk] == datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
    assert due[other.pk] == NOW + timedelta(hours=1)
    later = datetime(2026, 11, 24, 2, 30, 10, tzinfo=UTC)
    assert start_due(later) == 2
    row.refresh_from_db()
    assert row.next_due == datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
    _override(policy, one, schedule={"by hand": True})
    assert not PolicyDevice.objects.filter(device=one).exclude(next_due=None)
    assert remove_override(ACTOR, row, VALUES["schedule"], NOW)
    row.refresh_from_db()
    assert row.next_due == NOW + timedelta(hours=1)


@pytest.mark.django_db
def test_the_rules_of_one_device_let_go_what_the_policy_keeps() -> None:
    one, other = make_device("db-01"), make_device("db-02")
    policy = make_policy(one, other)
    now = timezone.now()
    for device in (one, other):
        for days in (1, 2, 3):
            make_point(device, policy, now - timedelta(days=days))
    _override(policy, one, keep=KEPT)
    assert (retiring.retire(one, now), retiring.retire(other, now)) == (2, 0)
    nothing = Rules.of(Policy(**VALUES["keep"].read(KEPT)))
    # Other rules of the policy would change the other device only.
    assert (count_going(policy, nothing, one, now), count_going(policy, nothing, other, now)) == (0, 2)


@pytest.mark.django_db
def test_load_and_turn_are_those_of_the_device() -> None:
    one, other = make_device("db-01"), make_device("db-02")
    policy = make_policy(one, other)
    _override(policy, one, upload_mb_s="20 MB/s", priority="before others")
    assert limits_of(on_device(policy, one)).upload_kib_s == 20 * 1_000_000 // 1024
    assert limits_of(on_device(policy, other)).upload_kib_s is None
    first, usual = (find_place(Run.BACKUP, each, policy, {}, SCHEDULE, NOW) for each in (one, other))
    assert first < usual


@pytest.mark.django_db
def test_the_page_shows_changes_and_gives_back_a_value(operator: Client) -> None:
    device = make_device("db-01")
    policy = make_policy(device, name="nightly")
    page = f"/devices/{device.slug}/values/{policy.slug}/rpo/"
    assert "policy nightly" in operator.get(device.get_absolute_url()).content.decode()
    assert operator.get(page).status_code == 200
    refused = operator.post(page, {"value": "soon"})
    assert refused.status_code == 422 and "soon" in refused.content.decode()
    assert operator.post(page, {"value": "3 h"}).headers["Location"] == device.get_absolute_url()
    shown = operator.get(device.get_absolute_url()).content.decode()
    assert "this device</span>" in shown and "3 h" in shown
    differs = "1 device differs: Target (RPO) (1)."
    assert differs in operator.get(policy.get_absolute_url()).content.decode()
    operator.post(page, {"remove": "1"})
    assert not Override.objects.exists()
    verbs = AuditEvent.objects.filter(verb__startswith="device.override").values_list("verb", flat=True)
    assert list(verbs.order_by("pk")) == ["device.override", "device.override-end"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "typed", "stored"),
    [
        ("schedule", {"way": "weekly", "value": "sunday 3:00"}, {"weekly": "Sunday 03:00"}),
        ("schedule", {"way": "by hand", "value": ""}, {"by hand": True}),
        ("schedule", {"way": "cron", "value": "0 0 30 2 *"}, None),
        ("schedule", {"way": "every", "value": "1 min"}, None),
        ("keep", {"keep_last": 1, **{f"keep_{each}": 0 for each in
            ("hourly", "daily", "weekly", "monthly", "yearly")}, "keep_min": "0"}, KEPT),
        ("impact", {"value": "brutal"}, None),
        ("upload_mb_s", {"value": "20"}, "20 MB/s"),
    ],
)  # fmt: skip
def test_each_form_stores_what_is_read_or_refuses(
    operator: Client, name: str, typed: dict[str, Any], stored: Any
) -> None:
    device = make_device("db-01")
    policy = make_policy(device)
    answer = operator.post(f"/devices/{device.slug}/values/{policy.slug}/{name}/", typed)
    assert answer.status_code == (422 if stored is None else 302)
    assert list(Override.objects.values_list("value", flat=True)) == ([] if stored is None else [stored])


@pytest.mark.django_db
def test_a_stranger_and_a_wrong_address_get_nothing(client: Client, operator: Client) -> None:
    device = make_device("db-01")
    policy = make_policy(device)
    page = f"/devices/{device.slug}/values/{policy.slug}/"
    assert client.post(f"{page}rpo/", {"value": "3 h"}).status_code == 302
    assert not Override.objects.exists()
    assert operator.get(f"{page}cold_rpo/").status_code == 404
    assert find_differing(policy).sentence == "" and Schedule.of(policy).kind == "every"


@pytest.mark.django_db
def test_own_rules_that_remove_something_want_to_be_agreed_to(operator: Client) -> None:
    device = make_device("db-01")
    policy = make_policy(device)
    for days in (1, 2, 3):
        make_point(device, policy, timezone.now() - timedelta(days=days))
    page = f"/devices/{device.slug}/values/{policy.slug}/keep/"
    counts = ("hourly", "daily", "weekly", "monthly", "yearly")
    typed = {"keep_last": "1", "keep_min": "0", **{f"keep_{each}": "0" for each in counts}}
    asked = operator.post(page, typed)
    assert asked.status_code == 422 and "2 restore points of this device go " in asked.content.decode()
    assert not Override.objects.exists()
    assert operator.post(page, typed | {"agreed": "3"}).status_code == 422
    assert operator.post(page, typed | {"agreed": "2"}).status_code == 302
    assert Override.objects.get().value == KEPT
    # The policy's own rules remove more than those of the device: taking them back is asked about, too.
    Override.objects.update(value=VALUES["keep"].write(policy))
    Policy.objects.update(**VALUES["keep"].read(KEPT))
    assert operator.post(page, {"remove": "1"}).status_code == 422
    assert operator.post(page, {"remove": "1", "agreed": "2"}).status_code == 302
    assert not Override.objects.exists()
