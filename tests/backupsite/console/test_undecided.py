"""Data that discovery found and nobody decided about keeps a device from being green, on every page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, Source
from backupsite.recovery.exposure import Standing
from backupsite.recovery.stored import count_standings, restate
from backupsite.runs.checking import keep_facts
from tests.agents.facts.samples import make_facts
from tests.backupsite.instances import make_etcd
from tests.backupsite.making import make_device, make_point, make_policy, source_fields

pytestmark = pytest.mark.django_db


def make_protected() -> tuple[Device, Policy]:
    device = make_device(reached_at=timezone.now())
    policy = make_policy(device, paths=("/srv", "/data"))
    for path in ("/srv", "/data"):
        make_point(device, policy, timezone.now(), path)
    return device, policy


def standing() -> Standing:
    (found,) = count_standings(Device.objects.all(), timezone.now())
    return found


def test_a_device_is_green_until_a_check_finds_something_and_again_when_somebody_decided() -> None:
    device, policy = make_protected()
    assert standing() is Standing.WITHIN
    keep_facts(device, replace(make_facts(), instances=(make_etcd("/var/lib/etcd"),)))
    assert standing() is Standing.UNDECIDED
    source = Source.objects.create(policy=policy, application="etcd", instance="default", mode="out")
    restate([device.pk])
    assert standing() is Standing.WITHIN
    source.delete()
    restate([device.pk])
    assert standing() is Standing.UNDECIDED
    keep_facts(device, make_facts())
    assert standing() is Standing.WITHIN, "it is not there any more"


def test_what_is_worse_is_said_first() -> None:
    device, policy = make_protected()
    keep_facts(device, replace(make_facts(), instances=(make_etcd("/var/lib/etcd"),)))
    Source.objects.create(policy=policy, path="/home")
    restate([device.pk])
    assert standing() is Standing.NEVER
    Policy.objects.update(is_enabled=False)
    restate([device.pk])
    assert standing() is Standing.PAUSED


def test_each_page_says_what_and_leads_to_the_decision(operator: Client) -> None:
    device, _ = make_protected()
    keep_facts(device, replace(make_facts(), instances=(make_etcd("/var/lib/etcd"),)))
    fleet = operator.get("/").content.decode()
    assert "1 device has data that nobody decided about" in fleet
    assert "/devices/?state=undecided" in fleet and 'href="/devices/db-01/#undecided"' in fleet
    listed = operator.get("/devices/?state=undecided")
    assert [row.device.name for row in listed.context["rows"]] == ["db-01"]
    assert "undecided: <a" in listed.content.decode() and "Within RPO" not in listed.content.decode()
    assert not operator.get("/devices/?state=within").context["rows"]
    page = operator.get("/devices/db-01/")
    text = page.content.decode()
    assert 'id="undecided"' in text and "Data undecided" in text
    assert page.context["exposure"].standing is Standing.UNDECIDED
    (each,) = page.context["open_data"]
    out = next(way.url for way in each.ways if way.words == "Leave out")
    form = operator.get(out).content.decode()
    assert 'value="default"' in form


def test_leaving_it_out_by_the_form_is_the_decision(operator: Client) -> None:
    device, _ = make_protected()
    keep_facts(device, replace(make_facts(), instances=(make_etcd("/var/lib/etcd"),)))
    form = {
        "name": "not this", "when": "60", "at_time": "02:00", "weekday": "6", "cron": "", "time_zone": "UTC",
        "rpo": "3 h", "is_enabled": "on", "sources-TOTAL_FORMS": "1", "sources-INITIAL_FORMS": "0",
        "devices": [device.pk],
        **source_fields(kind="etcd", path="", instance="default", mode="out"),
    }  # fmt: skip
    assert operator.post("/policies/new/", form).status_code == 302
    assert standing() is Standing.WITHIN
    assert "Within RPO" in operator.get("/devices/db-01/").content.decode()
