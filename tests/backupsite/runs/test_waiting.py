"""What waits says why."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from backupsite.fleet.models import Device, JumpHost, Tag
from backupsite.repositories.models import Storage
from backupsite.runs.models import Outage, Run
from backupsite.runs.states import State
from backupsite.runs.waiting import explain, explain_one
from tests.backupsite.making import make_device, make_policy, make_run, repository_of

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def device() -> Device:
    return make_device("web-1")


def words(run: Run) -> str:
    wait = explain_one(run, timezone.now())
    assert wait is not None
    return wait.text


def test_what_does_not_wait_has_nothing_to_say(device: Device) -> None:
    others = [State.SUCCEEDED, State.FAILED, State.CANCELLED, State.RUNNING]
    runs = [make_run(device, state) for state in others]
    with CaptureQueriesContext(connection) as queries:
        assert explain(runs, timezone.now()) == {}
    assert not queries.captured_queries


def test_it_waits_for_its_time(device: Device) -> None:
    later = timezone.now() + MINUTE
    wait = explain_one(make_run(device, State.QUEUED, not_before=later), timezone.now())
    assert wait is not None and (wait.until, wait.until_word) == (later, "not before")


def test_it_waits_for_its_device(device: Device) -> None:
    working = make_run(device, State.RUNNING)
    assert words(make_run(device, State.QUEUED, kind="probe")) == f"run {working.number} works on web-1"
    assert words(make_run(device, State.QUEUED, kind="browse")) == "for a free worker"


def test_it_waits_for_its_storage(device: Device) -> None:
    other = make_device("web-2")
    for each in (device, other):
        repository_of(each)
    Storage.objects.update(most_runs=1)
    make_run(other, State.RUNNING)
    assert words(make_run(device, State.QUEUED)) == "1 of 1 runs of the storage main work"


def test_it_waits_for_its_site(device: Device) -> None:
    site = Tag.objects.create(name="hamburg", is_site=True, most_runs=1)
    other = make_device("web-2")
    site.devices.set([device, other])
    make_run(other, State.RUNNING)
    assert words(make_run(device, State.QUEUED)) == "1 of 1 runs of site hamburg work"


def test_it_waits_for_an_outage(device: Device) -> None:
    now = timezone.now()
    site = Tag.objects.create(name="hamburg", is_site=True)
    way = JumpHost.objects.create(address="way.example.org", user="root")
    times = {"since": now, "next_try_at": now + MINUTE, "device_count": 5}
    Outage.objects.create(scope=f"site-{site.pk}", site=site, **times)
    behind = Outage.objects.create(scope=f"jump-{way.pk}", jump_host=way, **times)
    run = make_run(device, State.QUEUED)
    assert words(run) == "for a free worker"
    site.devices.add(device)
    wait = explain_one(run, now)
    assert wait is not None
    assert (wait.text, wait.until, wait.until_word) == (
        "site hamburg does not answer",
        now + MINUTE,
        "next try",
    )
    site.devices.clear()
    device.jump_host = way
    device.save()
    assert words(run) == "what is behind root@way.example.org does not answer"
    behind.delete()
    Outage.objects.create(scope="fleet", **times)
    assert words(run) == "the fleet does not answer"
    run.requested_by = "ada"
    assert words(run) == "for a free worker", "what a person asks for does not wait for an outage"


def test_it_waits_for_a_cold_one_and_then_for_a_worker(device: Device) -> None:
    policy = make_policy(device)
    make_run(device, State.QUEUED, policy=policy, request={"window": "cold"})
    assert words(make_run(device, State.QUEUED, policy=policy)) == "the cold backup of this device goes first"
    drill = make_run(device, State.QUEUED, kind="drill")
    assert words(drill) == "for a free worker, 2 others go before it"
    make_run(make_device("web-2"), State.RUNNING, kind="drill")
    assert words(drill) == "drills work one at a time"


def test_pages_say_it(operator: Client, device: Device) -> None:
    device.name = "<b>web"
    device.save()
    working = make_run(device, State.RUNNING)
    waiting = make_run(device, State.QUEUED)
    for address in ("/runs/", f"/devices/{device.slug}/runs/", waiting.get_absolute_url()):
        page = operator.get(address).content.decode()
        assert f"run {working.number} works on &lt;b&gt;web" in page, address
        assert "<b>web" not in page


def test_the_fleet_page_says_how_many_wait_and_what_does_not_answer(operator: Client, device: Device) -> None:
    now = timezone.now()
    site = Tag.objects.create(name="ham<b>urg", is_site=True)
    Outage.objects.create(scope="x", site=site, since=now, next_try_at=now + MINUTE, device_count=5)
    make_run(device, State.QUEUED, at=now - MINUTE)
    make_run(device, State.QUEUED)
    page = operator.get("/").content.decode()
    assert "2 wait</a>, the oldest since" in page
    assert "Site ham&lt;b&gt;urg does not answer since" in page
