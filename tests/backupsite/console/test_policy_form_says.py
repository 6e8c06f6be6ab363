"""What the form of a policy says about time is reckoned anew here, by hand; and who its buttons mean."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from backupsite.fleet.models import Tag
from backupsite.policies.models import Policy
from backupsite.runs.models import Run
from tests.backupsite.console.test_policy_pages import GOOD
from tests.backupsite.making import make_device, make_policy, source_fields

pytestmark = pytest.mark.django_db
TAGGED = {"has_tags": "1", "tags": "web", "tag_match": "any", "devices": []}


def own_pace(operator: Client, **fields: Any) -> Any:
    answer = operator.post("/policies/preview/", {**GOOD, "blocked-TOTAL_FORMS": "0", **fields})
    return answer.context["preview"].own


def test_the_typed_spread_is_said(operator: Client) -> None:
    pace = own_pace(operator, when="60", spread_minutes="7")
    assert pace.spread.total_seconds() == 7 * 60
    # A longer one than the interval would give the same moments twice.
    assert own_pace(operator, when="60", spread_minutes="90").spread.total_seconds() == 60 * 60


def test_back_up_now_means_the_devices_that_tags_select(operator: Client) -> None:
    device = make_device()
    device.tags.add(Tag.objects.create(name="web"))
    make_device("db-02")
    answer = operator.post("/policies/new/", {**GOOD, **TAGGED, "then": "backup"})
    run = Run.objects.get(kind=Run.BACKUP)
    assert (run.device, run.policy) == (device, Policy.objects.get())
    assert answer["Location"] == run.get_absolute_url()


def test_what_gets_in_the_way_of_a_source_is_said_at_its_row(operator: Client) -> None:
    device = make_device()
    make_policy(device, name="whole", paths=("/etc",))
    rows = {
        **source_fields(0, path="/srv"),
        **source_fields(1, path="/srv/www"),
        **source_fields(2, path="/etc"),
    }
    fields = {**GOOD, **rows, "sources-TOTAL_FORMS": "3", "devices": [device.pk]}
    answer = operator.post("/policies/preview/", fields)
    said = answer.context["consequences"]
    assert said.notes_of(0) == ()
    assert said.notes_of(1)[0].startswith("It lies in /srv, which takes it too")
    assert said.notes_of(2)[0].startswith("/etc of db-01 is in “whole” too: both copy it")
    (at_row,) = answer.content.decode().split('id="sources-2-outcome"')[1:]
    assert "both copy it" in at_row
