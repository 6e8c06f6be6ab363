"""Pauses of a device, a policy and the fleet: asked for on a page, shown, ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.accounts.models import AuditEvent
from backupsite.console.pausing_page import HOUR, MONDAY, MORNING, OTHER, find_end
from backupsite.policies.models import Pause
from backupsite.policies.pausing import paused_now
from tests.backupsite.making import make_device, make_policy

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("length", "end"),
    [
        (HOUR, "2026-11-22 13:00"),
        (MORNING, "2026-11-23 08:00"),
        (MONDAY, "2026-11-23 08:00"),
    ],
)
def test_lengths_end_where_they_say(length: str, end: str) -> None:
    sunday = datetime(2026, 11, 22, 12, tzinfo=UTC)
    found = find_end(length, sunday)
    assert found is not None and f"{found:%Y-%m-%d %H:%M}" == end


def test_monday_is_the_next_one_and_eight_is_local_time() -> None:
    monday = datetime(2026, 3, 23, 9, tzinfo=ZoneInfo("Europe/Berlin"))
    found = find_end(MONDAY, monday)
    assert found is not None and (found.day, found.hour, found.utcoffset()) == (30, 8, timedelta(hours=2))


@pytest.mark.parametrize("of", ["device", "policy", "fleet"])
def test_what_is_paused_is_shown_and_goes_on(operator: Client, of: str) -> None:
    device = make_device("db-01")
    policy = make_policy(device)
    field = {"device": ("device", device.slug), "policy": ("policy", policy.slug), "fleet": ("fleet", "1")}[
        of
    ]
    page = {"device": device.get_absolute_url(), "policy": policy.get_absolute_url(), "fleet": "/"}[of]
    shown = operator.get("/pause/", dict([field]))
    assert shown.status_code == 200 and "<h1>Pause" in shown.content.decode()
    typed = {"length": HOUR, "reason": HOSTILE}
    assert operator.post("/pause/", dict([field]) | typed).headers["Location"] == page
    pause = Pause.objects.get()
    assert (pause.device, pause.policy) == (
        device if of == "device" else None,
        policy if of == "policy" else None,
    )
    assert paused_now(timezone.now()).covers(device=device.pk, policy=policy.pk)
    text = operator.get(page).content.decode()
    assert "is paused</strong>" in text and HOSTILE not in text and "Go on now" in text
    assert operator.post("/pause/end/", dict([field])).headers["Location"] == page
    assert not paused_now(timezone.now()).covers(device=device.pk, policy=policy.pk)
    assert [event.verb for event in AuditEvent.objects.order_by("pk")][-2:] == [
        f"{of}.pause",
        f"{of}.pause-end",
    ]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"length": OTHER}, "Say when the pause ends"),
        ({"length": OTHER, "until": "tomorrow"}, "Write a date and a time"),
        ({"length": OTHER, "until": "2020-01-01 08:00"}, "This moment is over"),
        ({"length": OTHER, "until": "2999-01-01 08:00"}, "A pause ends within"),
        ({"length": "for ever"}, "Select a valid choice"),
        ({"length": HOUR, "reason": "x" * 201}, "at most 200 characters"),
    ],
)
def test_a_pause_without_a_good_end_is_refused_and_loses_nothing(
    operator: Client, typed: dict[str, str], said: str
) -> None:
    answer = operator.post("/pause/", {"fleet": "1", "reason": "moving", **typed})
    text = answer.content.decode()
    assert answer.status_code == 422 and said in text
    assert typed.get("reason", "moving") in text
    assert not Pause.objects.exists()


def test_nothing_named_is_nothing_found(operator: Client) -> None:
    assert operator.get("/pause/").status_code == 404
    assert operator.post("/pause/", {"device": "nobody", "length": HOUR}).status_code == 404
    assert operator.get("/pause/end/").status_code == 405


def test_a_stranger_pauses_nothing(stranger: Client) -> None:
    assert stranger.post("/pause/", {"fleet": "1", "length": HOUR}).status_code == 302
    assert not Pause.objects.exists()


def test_a_device_is_taken_out_of_service_and_back(operator: Client) -> None:
    device = make_device("db-01")
    for word, is_out in (("yes", True), ("no", False)):
        answer = operator.post(f"/devices/{device.slug}/service/", {"retired": word}, follow=True)
        device.refresh_from_db()
        assert (device.retired_at is not None) == is_out
        assert ("It is out of service" in answer.content.decode()) == is_out
