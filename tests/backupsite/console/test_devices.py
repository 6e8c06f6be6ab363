"""The list of devices, the page of one, and removing it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device
from backupsite.fleet.tags import set_tags
from backupsite.recovery.models import RestorePoint
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point, make_policy, make_run, repository_of

pytestmark = pytest.mark.django_db


def names_on(client: Client, query: str = "") -> list[str]:
    rows = client.get(f"/devices/{query}").context["rows"]
    return [row.device.name for row in rows]


def make_fleet() -> None:
    now = timezone.now()
    good, late, never, _open = (make_device(name) for name in ("good", "late", "never", "open"))
    policy = make_policy(good, late, never)
    make_point(good, policy, now - timedelta(hours=1))
    make_point(late, policy, now - timedelta(hours=20))


def test_the_worst_comes_first_and_filters_are_links(operator: Client) -> None:
    make_fleet()
    assert names_on(operator) == ["late", "never", "open", "good"]
    assert names_on(operator, "?sort=name") == ["good", "late", "never", "open"]
    assert names_on(operator, "?state=outside") == ["late"]
    assert names_on(operator, "?state=missed") == ["late", "never"]
    assert names_on(operator, "?state=within&q=GOO") == ["good"]
    assert names_on(operator, "?state=within&q=late") == []
    assert names_on(operator, "?q=example.org&sort=name") == ["good", "late", "never", "open"]
    text = operator.get("/devices/?q=o&page=3").content.decode()
    assert "?q=o&amp;state=outside" in text or "state=outside&amp;q=o" in text
    assert "page=3&amp;state" not in text


@pytest.mark.parametrize(
    "query",
    ["?page=-1", "?page=x", "?page=" + "9" * 400, "?state=x", "?sort=;drop", "?q=%00", "?q=' OR 1=1--"],
)
def test_a_strange_address_is_a_page(operator: Client, query: str) -> None:
    make_fleet()
    assert operator.get(f"/devices/{query}").status_code == 200


def test_a_page_has_fifty_and_its_queries_do_not_grow(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    devices = [make_device(f"web-{number:03}") for number in range(120)]
    policy = make_policy(*devices)
    for device in devices[:60]:
        make_point(device, policy, timezone.now())
        make_run(device)
    # Session and user, names, paused, sources, the devices of the page, their newest backups, what is due.
    with django_assert_num_queries(12):
        text = operator.get("/devices/?sort=name&page=2").content.decode()
    assert "51 to 100 of 120" in text and "web-050" in text and "web-049" not in text


def test_the_page_of_a_device_that_is_new(operator: Client) -> None:
    make_device(reached_at=timezone.now())
    text = operator.get("/devices/db-01/").content.decode()
    assert "Not protected" in text and "Protect it" in text
    assert "Back up now" not in text and "Restore…" not in text


def test_the_page_shows_the_worst_source_and_what_failed(operator: Client) -> None:
    device = make_device()
    policy = make_policy(device, paths=("/etc", "/srv"))
    now = timezone.now()
    make_point(device, policy, now - timedelta(hours=1), "/etc")
    make_point(device, policy, now - timedelta(hours=12), "/srv", is_complete=False, problem_count=3)
    for _ in range(2):
        make_run(device, State.FAILED, policy=policy, error_text="The source /srv does not exist.")
    text = operator.get("/devices/db-01/").content.decode()
    assert "Outside RPO" in text and "missed by" in text
    assert "2 backups in a row failed" in text and "The source /srv does not exist." in text
    assert "Crash-consistent" in text and "3 files not read" in text
    assert "Back up now" in text and "Restore…" in text


def test_a_good_run_mends_the_failures_before_it(operator: Client) -> None:
    device = make_device()
    make_run(device, State.FAILED, error_text="broken")
    make_run(device, State.SUCCEEDED)
    assert "The newest backup failed" not in operator.get("/devices/db-01/").content.decode()
    make_run(device, State.FAILED, error_text="again")
    make_run(device, State.RUNNING)
    text = operator.get("/devices/db-01/").content.decode()
    assert "The newest backup failed" in text, "a run that works does not hide a failure"
    assert "Backup runs." in text


def test_its_live_parts_are_the_same_elements(operator: Client) -> None:
    device = make_device()
    whole = operator.get("/devices/db-01/").content.decode()
    for part in ("head", "live"):
        text = operator.get(f"/devices/db-01/?part={part}").content.decode()
        assert f'id="device-{part}"' in text and "<html" not in text and "<form" not in text
        assert f'data-live-topic="device:{device.uuid}"' in text
        assert f'id="device-{part}"' in whole


def test_facts_of_another_version_are_not_known(operator: Client) -> None:
    make_device(facts={"kernel": "6.1"})
    text = operator.get("/devices/db-01/").content.decode()
    assert "is known after its first check" in text


def test_the_queries_of_a_device_are_frozen(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    device = make_device()
    policy = make_policy(device, paths=tuple(f"/srv/{number}" for number in range(9)))
    for number in range(9):
        make_point(device, policy, timezone.now(), f"/srv/{number}")
        make_run(device, policy=policy)
    with django_assert_num_queries(24):
        assert operator.get("/devices/db-01/").status_code == 200


def test_removing_wants_the_name(operator: Client) -> None:
    device = make_device()
    make_policy(device)
    page = operator.get("/devices/db-01/delete/").content.decode()
    assert "It leaves the policy" in page and Device.objects.exists()
    wrong = operator.post("/devices/db-01/delete/", {"name": "DB-01"})
    assert wrong.status_code == 422 and 'value="DB-01"' in wrong.content.decode()
    assert operator.post("/devices/db-01/delete/", {"name": "db-01"})["Location"] == "/devices/"
    assert not Device.objects.exists()


def test_restore_points_and_runs_protect_a_device(operator: Client) -> None:
    make_point(make_device(), None, timezone.now())
    make_run(make_device("db-02"), State.RUNNING)
    repository_of(make_device("db-03"))
    for name, reason in (("db-01", "1 restore point"), ("db-02", "run"), ("db-03", "repository")):
        assert reason in operator.get(f"/devices/{name}/delete/").content.decode()
        assert operator.post(f"/devices/{name}/delete/", {"name": name}).status_code == 422
    assert Device.objects.count() == 3


def test_who_may(operator: Client, stranger: Client) -> None:
    make_device()
    for page in ("/devices/", "/devices/db-01/", "/devices/db-01/delete/"):
        assert stranger.get(page)["Location"].startswith("/login/")
    assert operator.post("/devices/").status_code == 405
    assert operator.post("/devices/db-01/").status_code == 405
    assert operator.get("/devices/nothing/").status_code == 404


def test_looking_into_a_restore_point_is_not_told(operator: Client) -> None:
    device = make_device()
    make_run(device, State.RUNNING, kind=Run.BROWSE)
    assert "Nothing ran on this device yet." in operator.get("/devices/db-01/").content.decode()
    assert "Nothing runs at this moment." in operator.get("/").content.decode()


def test_the_timeline_says_what_each_restore_point_is(operator: Client) -> None:
    device, now = make_device(), timezone.now()
    for hours, state in ((1, RestorePoint.REFUTED), (200, RestorePoint.PROVEN)):
        point = make_point(device, None, now - timedelta(hours=hours))
        point.method, point.consistency, point.size_bytes, point.stored_bytes = (
            "btrfs",
            "crash",
            3_100_000,
            4_000,
        )
        point.drill_state, point.verified_at = state, now
        point.save()
    text = operator.get("/devices/db-01/").content.decode().replace("\xa0", " ")
    assert text.count(": btrfs snapshot, crash-consistent, 3.1 MB, 4.0 kB of it new, ") == 4
    assert "proven by a drill " in text and "failed its drill " in text
    assert text.count('class="mark bad"') == 1
    assert "1 with a ring was proven by a drill." in text


def test_the_list_shows_tags_and_finds_by_them(operator: Client) -> None:
    web, other = make_device("web-1"), make_device("db-1")
    set_tags(Actor("ada"), web, ["web", "hamburg <b>"])
    set_tags(Actor("ada"), other, ["hamburg <b>"])
    text = operator.get("/devices/").content.decode()
    assert " · web" in text and "hamburg <b>" not in text
    page = operator.get("/devices/", {"tag": "WEB"})
    assert [row.device.name for row in page.context["rows"]] == ["web-1"]
    (current,) = [each for each in page.context["tags"] if each.is_current]
    assert (current.label, current.query) == ("web", "")
    assert "No device fits" in operator.get("/devices/", {"tag": "nobody"}).content.decode()
