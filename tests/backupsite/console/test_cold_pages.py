"""Hot and cold in the policy's form: each kind of source is saved, kept when refused, told what it means."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from agents.facts import Instance
from agents.facts.device import to_json
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, Source
from backupsite.runs.models import Run
from tests.agents.facts.samples import make_facts, make_mount
from tests.backupsite.hostile import GENERIC, MARKUP
from tests.backupsite.instances import make_etcd, make_postgresql
from tests.backupsite.making import make_device, make_point, make_policy, source_fields

pytestmark = pytest.mark.django_db
FORM: dict[str, Any] = {
    "name": "hourly", "when": "60", "at_time": "02:00", "weekday": "6", "cron": "", "time_zone": "UTC",
    "rpo": "3 h", "is_enabled": "on", "sources-TOTAL_FORMS": "1", "sources-INITIAL_FORMS": "0",
    "cold_when": "weekly", "cold_weekday": "6", "cold_at_time": "03:00", "cold_cron": "",
    "cold_rpo": "8 days",
}  # fmt: skip
WINDOW = {"cold_is_enabled": "on"}
PG = source_fields(kind="postgresql", path="", instance="15/main", mode="both")
COLD = source_fields(mode="cold", services="nginx\nphp")


def known_device(*instances: Instance, **fields: Any) -> Device:
    facts = replace(make_facts(make_mount("/srv/xfs", "xfs", "8:17")), instances=instances)
    return make_device(facts=to_json(facts), facts_at=timezone.now(), reached_at=timezone.now(), **fields)


def save(operator: Client, *parts: dict[str, Any], **fields: Any) -> Any:
    form = dict(FORM)
    for part in parts:
        form |= part
    return operator.post("/policies/new/", form | fields)


def test_an_application_and_a_window_are_saved(operator: Client) -> None:
    device = make_device()
    answer = save(operator, PG, WINDOW, devices=[device.pk])
    assert answer["Location"] == "/policies/"
    policy, source = Policy.objects.get(), Source.objects.get()
    assert (source.key, source.mode, source.path) == ("postgresql:15/main", "both", "")
    assert (policy.cold_is_enabled, policy.cold_schedule, policy.cold_weekday) == (True, "weekly", 6)
    assert policy.cold_rpo == timedelta(days=8)
    row = policy.assignments.get()
    assert row.next_due is not None and row.next_cold_due is not None


def test_a_command_and_cold_files_are_saved_with_their_limits(operator: Client) -> None:
    command = source_fields(1, kind="command", path="", instance="inventory.json", command="lsblk | jq .")
    cold = source_fields(mode="cold", services="nginx\r\n php ", longest_downtime="30 s", group="shop")
    save(operator, cold, command, WINDOW, **{"sources-TOTAL_FORMS": "2"})
    files, stream = Source.objects.order_by("key")
    assert (files.services, files.longest_downtime_s, files.group) == ("nginx\nphp", 30, "shop")
    assert (stream.key, stream.command, stream.services) == ("command:inventory.json", "lsblk | jq .", "")


@pytest.mark.parametrize(
    ("row", "field", "words"),
    [
        ({"mode": "cold"}, "services", "Name what stops"),
        ({"mode": "both"}, "services", "Name what stops"),
        ({"if_hot_impossible": "wait"}, "services", "Name what stops"),
        ({"mode": "cold", "services": "-rf"}, "services", "one word a line"),
        ({"mode": "warm"}, "mode", "not one of the available"),
        ({"kind": "oracle"}, "kind", "not one of the available"),
        ({"kind": "postgresql"}, "instance", "Say which one"),
        ({"kind": "command", "instance": "x"}, "command", "Give the command"),
        (
            {"kind": "command", "instance": "x", "command": "true", "mode": "cold"},
            "mode",
            "nothing that could stop",
        ),
        ({"longest_freeze": "1 h"}, "longest_freeze", "has stopped"),
        ({"longest_downtime": "soon"}, "longest_downtime", "whole number"),
        ({"group": "a\x00b"}, "group", ""),
    ],
)
def test_a_refused_row_keeps_what_was_typed(
    operator: Client, row: dict[str, Any], field: str, words: str
) -> None:
    answer = save(operator, WINDOW, source_fields(0, **{"excludes": "*.tmp", **row}), rpo="7 h")
    text = answer.content.decode()
    assert answer.status_code == 422 and words in text
    assert f'id="id_sources-0-{field}_error"' in text
    assert 'value="7 h"' in text and "*.tmp" in text
    assert not Policy.objects.exists()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"cold_at_time": "25:00"}, "cold_at_time"),
        ({"cold_at_time": ""}, "cold_at_time"),
        ({"cold_weekday": "9"}, "cold_weekday"),
        ({"cold_when": "cron", "cold_cron": "* * *"}, "cold_cron"),
        ({"cold_when": "cron", "cold_cron": ""}, "cold_cron"),
        ({"cold_when": "hourly"}, "cold_when"),
        ({"cold_rpo": "1 min"}, "cold_rpo"),
    ],
)
def test_a_window_that_never_comes_is_refused_but_only_when_it_is_on(
    operator: Client, fields: dict[str, str], field: str
) -> None:
    answer = save(operator, WINDOW, COLD, fields)
    assert answer.status_code == 422 and f'id="id_{field}_error"' in answer.content.decode()
    assert save(operator, source_fields(), fields).status_code == 302, "what is switched off cannot be wrong"


def test_cold_beside_hot_needs_a_window_and_says_so_at_its_field(operator: Client) -> None:
    mixed = {**COLD, **source_fields(1, path="/etc"), "sources-TOTAL_FORMS": "2"}
    answer = save(operator, mixed)
    text = answer.content.decode()
    assert answer.status_code == 422 and 'id="id_cold_is_enabled_error"' in text
    assert "A cold window is needed for /srv" in text
    assert save(operator, mixed, WINDOW).status_code == 302


def test_all_cold_runs_by_its_own_schedule_and_is_warned_of_many_stops(operator: Client) -> None:
    device = known_device()
    preview = operator.post("/policies/preview/", {**FORM, **COLD, "devices": [device.pk]}).content.decode()
    assert "24 stops a day on each device" in preview and "nginx, php: stopped for" in preview
    save(operator, COLD, devices=[device.pk], then="backup")
    assert Run.objects.get().request == {"window": "cold"}


def test_the_same_source_is_there_once(operator: Client) -> None:
    twice = {
        **PG,
        **source_fields(1, kind="postgresql", path="", instance="15/main"),
        "sources-TOTAL_FORMS": "2",
    }
    answer = save(operator, twice, WINDOW)
    assert answer.status_code == 422 and "This is in the policy already." in answer.content.decode()


def test_what_was_stored_is_shown_and_saved_unchanged(operator: Client) -> None:
    save(operator, PG, WINDOW)
    before = Source.objects.values().get()
    form = operator.get("/policies/hourly/").context["sources"].forms[0]
    posted = {f"sources-0-{name}": value for name, value in form.initial.items()}
    assert operator.post("/policies/hourly/", {**FORM, **WINDOW, **posted}).status_code == 302
    assert Source.objects.values().get() == before


def test_found_applications_become_rows_without_a_script(operator: Client) -> None:
    device = known_device(make_postgresql("/data/pg"))
    page = operator.get("/policies/new/?device=db-01").content.decode()
    assert 'value="postgresql:15/main"' in page and "Found on db-01" in page
    added = operator.post(
        "/policies/new/",
        {**FORM, **source_fields(path=""), "devices": [device.pk], "add_found": "postgresql:15/main"},
    )
    rows = added.context["sources"].forms
    assert [(row["kind"].value(), row["instance"].value()) for row in rows] == [("postgresql", "15/main")]
    assert "Held for a snapshot" in added.content.decode()


def test_an_address_opens_the_form_with_a_source_filled_in(operator: Client) -> None:
    known_device(make_postgresql("/data/pg"))
    asked = "application=postgresql&instance=15/main"
    new = operator.get(f"/policies/new/?device=db-01&{asked}&mode=out")
    (row,) = new.context["sources"].forms
    assert (row["kind"].value(), row["instance"].value(), row["mode"].value()) == (
        "postgresql",
        "15/main",
        "out",
    )
    make_policy(name="nightly")
    there = operator.get(f"/policies/nightly/?{asked}").context["sources"].forms
    assert [row["kind"].value() for row in there] == ["files", "postgresql"]
    again = operator.get("/policies/nightly/?path=/srv").context["sources"].forms
    assert len(again) == 1, "it is in it already"
    assert not Source.objects.filter(application="postgresql").exists(), "looking changes nothing"


@pytest.mark.parametrize("text", [*GENERIC, *MARKUP])
def test_hostile_addresses_and_devices_do_no_harm(operator: Client, text: str) -> None:
    hostile = "<script>alert(1)</script>\u202e\udcff"
    known_device(replace(make_etcd(f"/srv/xfs/{hostile}"), name=hostile, label=hostile, problems=(hostile,)))
    asked = {"device": "db-01", "application": text, "instance": text, "path": text, "mode": text}
    for page in ("/policies/new/", "/devices/db-01/"):
        answer = operator.get(page, {key: value[:5000] for key, value in asked.items()})
        body = answer.content.decode()
        assert answer.status_code == 200
        assert "<script>alert(1)" not in body
        assert text.startswith("\u202e") or "\u202e" not in body
    posted = operator.post(
        "/policies/new/", {**FORM, "add_found": text[:9000], "sources-0-kind": text[:9000]}
    )
    assert posted.status_code == 200


def test_the_device_page_shows_what_was_found_and_what_nobody_decided(operator: Client) -> None:
    device = known_device(make_postgresql("/data/pg"), make_etcd("/srv/xfs/etcd"))
    text = operator.get("/devices/db-01/").content.decode()
    assert "Found on this device" in text and text.count("Nobody decided") >= 2
    assert "Held for a snapshot, application-consistent" in text and "No hot method works now" in text
    assert "?device=db-01&amp;application=postgresql&amp;instance=15%2Fmain" in text
    policy = make_policy(device, paths=("/",))
    Source.objects.create(policy=policy, application="etcd", instance="default", mode="out")
    Source.objects.create(policy=policy, application="postgresql", instance="15/main")
    text = operator.get("/devices/db-01/").content.decode()
    assert "Nobody decided" not in text and "Left out" in text and "No restore point yet" in text
    make_point(device, policy, timezone.now(), "postgresql:15/main")
    assert "Within RPO" in operator.get("/devices/db-01/").content.decode()


def test_its_files_alone_are_no_decision_about_an_application(operator: Client) -> None:
    device = known_device(make_postgresql("/data/pg"))
    make_policy(device, paths=("/",))
    page = operator.get("/devices/db-01/")
    assert [each.status.label for each in page.context["undecided"]] == ["Only its files"]
    Policy.objects.update(is_enabled=False)
    assert [each.status.label for each in operator.get("/devices/db-01/").context["found"]] == [
        "Nobody decided"
    ]


def test_a_path_that_is_left_out_is_no_gap_any_more(operator: Client) -> None:
    device = known_device()
    assert "/srv/xfs" in [gap.point for gap in operator.get("/devices/db-01/").context["gaps"]]
    policy = make_policy(device, paths=())
    Source.objects.create(policy=policy, path="/srv/xfs", mode="out")
    page = operator.get("/devices/db-01/")
    assert "/srv/xfs" not in [gap.point for gap in page.context["gaps"]]
    assert page.context["exposure"].standing.word == "unprotected", "left out is not protected"


def test_how_critical_a_device_is_changes_what_is_proposed(operator: Client) -> None:
    device = known_device(make_etcd("/data/etcd"))
    assert operator.get("/devices/db-01/").context["found"][0].advice.mode == "both"
    edited = {
        "name": "db-01",
        "address": device.address,
        "port": "22",
        "user": "root",
        "criticality": "critical",
    }
    operator.post("/devices/db-01/edit/", edited)
    device.refresh_from_db()
    assert device.criticality == "critical"
    assert operator.get("/devices/db-01/").context["found"][0].advice.mode == "hot"
    assert operator.post("/devices/db-01/edit/", {**edited, "criticality": "huge"}).status_code == 422
