from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from backupsite.console.fleet_page import count_days, make_verdict
from backupsite.policies.models import Policy
from backupsite.recovery.exposure import Standing
from backupsite.recovery.stored import restate
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point, make_policy, make_run

pytestmark = pytest.mark.django_db


def titles(client: Client) -> list[tuple[str, str]]:
    return [(item.device.name, item.title) for item in client.get("/").context["items"]]


@pytest.mark.parametrize(
    ("standings", "tone", "title"),
    [
        ("within close partial", "good", "Every device is within its target"),
        ("within outside", "bad", "1 device is outside its target"),
        ("outside never unprotected", "bad", "2 devices are outside their target"),
        ("within unprotected", "warn", "1 device is not protected"),
        ("within undecided", "warn", "1 device has data that nobody decided about"),
        ("undecided undecided", "warn", "2 devices have data that nobody decided about"),
        ("outside undecided", "bad", "1 device is outside its target"),
        ("within paused", "warn", "1 device is paused, all others are within their target"),
        ("paused", "off", "Every policy is paused"),
    ],
)
def test_the_verdict(standings: str, tone: str, title: str) -> None:
    counts = Counter(Standing[word.upper()] for word in standings.split())
    verdict = make_verdict(counts, "")
    assert (verdict.tone, verdict.title) == (tone, title)


def test_without_a_device_it_says_what_to_do(operator: Client) -> None:
    text = operator.get("/").content.decode()
    assert "Add your first device" in text and "/devices/new/" in text


def test_a_fleet_that_is_well(operator: Client) -> None:
    device = make_device(reached_at=timezone.now())
    make_point(device, make_policy(device), timezone.now())
    text = operator.get("/").content.decode()
    assert "Every device is within its target" in text and "Nothing needs you now." in text
    assert "Getting started" in text and "A restore was tried" in text


def test_attention_is_ranked_and_each_has_one_way_on(operator: Client) -> None:
    now = timezone.now()
    late, failing, _, new = (make_device(n, reached_at=now) for n in ("late", "failing", "lonely", "new"))
    policy = make_policy(late, failing)
    make_point(late, policy, now - timedelta(hours=31))
    make_point(failing, policy, now)
    make_run(failing, State.FAILED, error_text="No space <left>")
    new.reached_at = None
    new.save()
    assert titles(operator) == [
        ("late", "31\u00a0h without a restore point, target 10\u00a0h"),
        ("failing", "The newest backup failed"),
        ("new", "Not connected yet"),
        ("lonely", "Not protected"),
    ]
    text = operator.get("/").content.decode()
    assert "No space &lt;left&gt;" in text and "Review 1 device<" in text


def test_a_service_that_is_down_comes_before_everything(operator: Client) -> None:
    now = timezone.now()
    late, down = make_device("late"), make_device("standing")
    policy = make_policy(late, down)
    make_point(late, policy, now - timedelta(days=9))
    make_point(down, policy, now)
    make_run(down, State.FAILED, error_code="service-down", error_text="nginx does not run again.")
    assert titles(operator)[0] == ("standing", "A service is down")


def test_a_paused_policy_is_told(operator: Client) -> None:
    device = make_device()
    make_policy(device)
    Policy.objects.update(is_enabled=False)
    restate([device.pk])
    assert "Every policy is paused" in operator.get("/").content.decode()


def test_what_runs_is_beside_the_verdict(operator: Client) -> None:
    device = make_device()
    make_policy(device)
    make_run(device, State.RUNNING, phase="transfer", bytes_done=41, bytes_total=65)
    text = operator.get("/?part=live").content.decode()
    assert "outside its target" in text and "transfer" in text and "<html" not in text and "<form" not in text
    assert 'id="fleet-live"' in text and 'data-live-topic="fleet"' in text


def test_days_are_those_of_the_reader(db: None) -> None:
    now = timezone.now().replace(hour=12)
    device = make_device()
    make_run(device, at=now)
    make_run(device, State.WARNINGS, at=now)
    make_run(device, State.FAILED, at=now - timedelta(days=1))
    make_run(device, State.SUCCEEDED, kind=Run.PROBE, at=now)
    make_run(device, State.CANCELLED, at=now)
    make_run(device, at=now - timedelta(days=14))
    days = count_days(now)
    assert len(days) == 14
    assert (days[-1].good, days[-1].warnings, days[-1].failed) == (1, 1, 0)
    assert (days[-2].good, days[-2].failed) == (0, 1)
    assert sum(day.good for day in days) == 1


def test_the_queries_do_not_grow(operator: Client, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    devices = [make_device(f"web-{number}") for number in range(40)]
    policy = make_policy(*devices)
    for device in devices[:20]:
        make_point(device, policy, timezone.now())
        make_run(device, State.FAILED)
    with django_assert_num_queries(32):
        assert operator.get("/").status_code == 200


def test_who_may(operator: Client, stranger: Client) -> None:
    assert stranger.get("/")["Location"].startswith("/login/")
    assert operator.post("/").status_code == 405
