from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from agents.binds import NO_LIMITS, Limits
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery.backups import limits_of
from backupsite.runs.models import Run
from tests.backupsite.making import make_device, make_point, make_policy, source_fields

pytestmark = pytest.mark.django_db
GOOD: dict[str, Any] = {
    "name": "hourly",
    "when": "60",
    "at_time": "02:00",
    "weekday": "6",
    "cron": "",
    "time_zone": "Europe/Berlin",
    "rpo": "3 h",
    "is_enabled": "on",
    "sources-TOTAL_FORMS": "1",
    "sources-INITIAL_FORMS": "0",
    **source_fields(excludes="*.tmp"),
}


def test_a_policy_is_saved(operator: Client) -> None:
    device = make_device()
    answer = operator.post("/policies/new/", {**GOOD, "devices": [device.pk]})
    assert answer["Location"] == "/policies/"
    policy = Policy.objects.get()
    assert (policy.schedule, policy.every_minutes, policy.time_zone) == ("every", 60, "Europe/Berlin")
    assert policy.sources.get().excludes == "*.tmp"
    assert policy.assignments.get().next_due is not None
    assert not Run.objects.exists()


def test_save_and_back_up_now_starts_the_run(operator: Client) -> None:
    device = make_device()
    answer = operator.post("/policies/new/", {**GOOD, "devices": [device.pk], "then": "backup"})
    run = Run.objects.get()
    assert (run.kind, run.device, run.policy, run.requested_by) == (
        "backup",
        device,
        Policy.objects.get(),
        "ada",
    )
    assert answer["Location"] == run.get_absolute_url()


def test_every_device_that_there_is(operator: Client) -> None:
    for number in range(3):
        make_device(f"db-{number}")
    operator.post("/policies/new/", {**GOOD, "every_device": "on"})
    assert Policy.objects.get().assignments.count() == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "a\x00b"),
        ("when", "never"),
        ("time_zone", "Europe/Atlantis"),
        ("time_zone", "../../etc/passwd"),
        ("rpo", "soon"),
        ("rpo", "1 min"),
        ("rpo", "99999 w"),
        ("impact", "brutal"),
        ("upload_mb_s", "-1"),
        ("upload_mb_s", "fast"),
        ("devices", "999999"),
        ("devices", "' OR 1=1--"),
        ("sources-0-path", "srv"),
        ("sources-0-path", "/srv\n/etc"),
        ("sources-0-path", "/proc"),
        ("sources-0-excludes", "*"),
        ("sources-0-if_hot_impossible", "cold"),
        ("sources-TOTAL_FORMS", "x"),
    ],
)
def test_an_error_is_told_and_nothing_typed_is_lost(operator: Client, field: str, value: str) -> None:
    answer = operator.post("/policies/new/", {**GOOD, "rpo": "7 h", field: value})
    text = answer.content.decode()
    assert answer.status_code == 422
    assert "Not saved yet" in text
    assert field == "rpo" or 'value="7 h"' in text
    assert field.startswith("sources") or 'value="/srv"' in text
    assert not Policy.objects.exists()


@pytest.mark.parametrize(
    ("when", "field", "value"),
    [
        ("daily", "at_time", "25:00"),
        ("weekly", "at_time", ""),
        ("weekly", "weekday", "7"),
        ("daily", "at_time", "٢:00"),
    ]
    + [
        ("cron", "cron", text)
        for text in ("", "* * * * * *", "60 25 32 13 8", "*/0 * * * *", "0 0 31 2 *", "x" * 9)
    ],
)
def test_a_schedule_that_never_comes_is_refused(operator: Client, when: str, field: str, value: str) -> None:
    answer = operator.post("/policies/new/", {**GOOD, "when": when, field: value})
    assert answer.status_code == 422
    assert f'id="id_{field}_error"' in answer.content.decode()


def test_a_name_is_taken_once(operator: Client) -> None:
    make_policy(name="HOURLY")
    answer = operator.post("/policies/new/", GOOD)
    assert answer.status_code == 422 and "Another policy has this name." in answer.content.decode()


def test_the_page_shows_what_is_stored_and_saves_it_unchanged(operator: Client) -> None:
    device = make_device()
    operator.post("/policies/new/", {**GOOD, "when": "weekly", "weekday": "2", "devices": [device.pk]})
    text = operator.get("/policies/hourly/").content.decode()
    assert 'value="/srv"' in text and "*.tmp" in text and 'value="3 h"' in text
    assert "Every Wednesday at 02:00 (Europe/Berlin)" in text
    changed = {**GOOD, "when": "weekly", "weekday": "2", "devices": [device.pk], "sources-INITIAL_FORMS": "1"}
    assert operator.post("/policies/hourly/", changed)["Location"] == "/policies/"
    assert Policy.objects.get().weekday == 2


def test_rows_are_added_and_removed_without_a_script(operator: Client) -> None:
    added = operator.post("/policies/new/", {**GOOD, "name": "", "add_source": "1"})
    text = added.content.decode()
    assert added.status_code == 200 and "Not saved yet" not in text
    assert 'name="sources-1-path"' in text and 'value="/srv"' in text
    removed = operator.post("/policies/new/", {**GOOD, "remove_source": "0"})
    assert 'value="/srv"' not in removed.content.decode()
    assert not Policy.objects.exists()


def test_the_preview_says_what_the_schedule_can_keep(operator: Client) -> None:
    make_device()
    tight = operator.post("/policies/preview/", {**GOOD, "rpo": "1 h", "every_device": "on"}).content.decode()
    assert "1 device</strong>" in tight and "Every hour" in tight
    assert "cannot be kept" in tight and "assumed" in tight and "1\u00a0h 25\u00a0min" in tight
    good = operator.post("/policies/preview/", GOOD).content.decode()
    assert "cannot be kept" not in good and "No device is chosen" in good
    half = operator.post("/policies/preview/", {"when": "cron", "cron": "1 2", "sources-TOTAL_FORMS": "x"})
    assert half.status_code == 200
    assert not Policy.objects.exists()


def test_protect_it_fills_in_device_and_path(operator: Client) -> None:
    device = make_device()
    text = operator.get("/policies/new/?device=db-01&path=/srv/media&device=nothing").content.decode()
    assert 'value="/srv/media"' in text
    assert f'value="{device.pk}"' in text and "1 device</strong>" in text


def test_the_list_and_removing(operator: Client) -> None:
    device = make_device()
    policy = make_policy(device)
    make_point(device, policy, policy.created_at)
    assert "hourly" in operator.get("/policies/").content.decode()
    page = operator.get("/policies/hourly/delete/").content.decode()
    assert "restore points and its runs stay" in page and "db-01" in page
    assert Policy.objects.exists()
    assert operator.post("/policies/hourly/delete/")["Location"] == "/policies/"
    assert not Policy.objects.exists()


def test_who_may(operator: Client, stranger: Client) -> None:
    make_policy()
    for page in ("/policies/", "/policies/new/", "/policies/hourly/", "/policies/hourly/delete/"):
        assert stranger.get(page)["Location"].startswith("/login/"), page
        assert operator.get(page).status_code == 200, page
        assert operator.put(page).status_code == 405, page
    assert operator.get("/policies/preview/").status_code == 405
    assert operator.get("/policies/nothing/").status_code == 404


def test_a_long_list_of_devices_is_searched_and_keeps_what_was_chosen(operator: Client) -> None:
    Device.objects.bulk_create(Device(name=f"web-{n:04}", slug=f"web-{n:04}") for n in range(600))
    chosen = Device.objects.get(name="web-0599")
    first = operator.get("/policies/new/").content.decode()
    assert first.count('name="devices"') == 100 and "web-0599" not in first
    typed = {**GOOD, "devices": [chosen.pk], "find": "web-03", "find_devices": "1"}
    text = operator.post("/policies/new/", typed).content.decode()
    assert text.count('name="devices"') == 101
    assert "web-0399" in text and "web-0599" in text and 'value="/srv"' in text
    assert not Policy.objects.exists()
    operator.post("/policies/new/", {**GOOD, "devices": [chosen.pk, chosen.pk - 1]})
    assert Policy.objects.get().assignments.count() == 2
    strange = operator.post(
        "/policies/new/", {**GOOD, "devices": "x' OR 1=1", "find": "\0", "find_devices": "1"}
    )
    assert strange.status_code == 200


def test_a_policy_of_every_device_says_so_in_one_field(operator: Client) -> None:
    make_policy(make_device(), make_device("db-02"))
    page = operator.get("/policies/hourly/")
    assert page.context["form"].initial["every_device"] is True
    text = page.content.decode()
    assert text.count("checked") == 8, "every device, tags, schedule, how often, modes, window, load"
    make_device("db-03")
    assert operator.get("/policies/hourly/").context["form"].initial["every_device"] is False


def test_how_hard_a_backup_may_push_reaches_the_device(operator: Client) -> None:
    make_device()
    operator.post("/policies/new/", {**GOOD, "every_device": "on"})
    policy = Policy.objects.get()
    assert (policy.impact, limits_of(policy)) == (Policy.GENTLE, Limits())
    operator.post(
        policy.get_absolute_url(), {**GOOD, "every_device": "on", "impact": "fast", "upload_mb_s": "20"}
    )
    policy.refresh_from_db()
    assert limits_of(policy) == replace(NO_LIMITS, upload_kib_s=19531)
    assert 'value="20"' in operator.get(policy.get_absolute_url()).content.decode()
    assert limits_of(None) == Limits()
