"""What nobody should type into a policy: each mistake has its own sentence at its field, and nothing is
saved."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from backupsite.policies.models import Policy
from tests.backupsite.console.test_policy_pages import GOOD
from tests.backupsite.making import make_device, source_fields

pytestmark = pytest.mark.django_db
HOURS = {"blocked-TOTAL_FORMS": "1", "blocked-0-weekdays": list("0123456")}


def row(**fields: str) -> dict[str, str]:
    return source_fields(**fields)


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"when": "cron", "cron": "0 0 31 2 *"}, "cron", "This cron expression never comes true."),
        ({"when": "cron", "cron": "* * *"}, "cron", "Write five fields, like 30 2 * * 1-5."),
        ({"when": "cron", "cron": "99 * * * *"}, "cron", "This is not a cron expression; write five fields"),
        ({"when": "daily", "at_time": "24:00"}, "at_time", "Write the time like 02:00 or 23:30."),
        ({"time_zone": "Mars/Base"}, "time_zone", "There is no time zone of this name"),
        ({"rpo": "1 s"}, "rpo", "Write a whole number and a unit"),
        ({"rpo": "0 min"}, "rpo", "The target lies between 5 min and 366 days."),
        ({"name": "a\nb"}, "name", "The name holds a character that cannot be seen."),
        ({"name": "\u202ex"}, "name", "The name holds a character that cannot be seen."),
        ({"upload_mb_s": "-1"}, "upload_mb_s", "Write a whole number of MB/s from 1 to 100000"),
        ({"name": ""}, "name", "Give the policy a name"),
        ({"blocked-TOTAL_FORMS": "0", "spread_minutes": "2000"}, "spread_minutes", "Write a whole number"),
        ({**HOURS, "blocked-0-begins": "00:00", "blocked-0-ends": "00:00"}, None,
         "Blocked hours: These hours block the whole week: no backup could ever start."),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_meant(
    operator: Client, fields: dict[str, Any], field: str | None, sentence: str
) -> None:
    answer = operator.post("/policies/new/", {**GOOD, **fields, "devices": [make_device().pk]})
    assert answer.status_code == 422
    form = answer.context["form"]
    said = form.errors.get(field, []) if field is not None else form.non_field_errors()
    assert any(each.startswith(sentence) for each in said), form.errors
    assert not Policy.objects.exists()


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"path": "etc"}, "path", "Give the whole path from the root, for example /srv/www."),
        ({"path": "~/data"}, "path", "Give the whole path from the root, for example /srv/www."),
        ({"path": "/srv/../etc"}, "path", "Leave out “..”: give the path where the data really is."),
        ({"path": "/srv/\nx"}, "path", "The path holds a character that cannot be seen, such as a new line."),
        ({"path": "/srv\0"}, "path", "Null characters are not allowed."),
        ({"path": "/srv/*"}, "path", "A path is taken as it is, * stands for itself."),
        ({"path": "/dev/sda"}, "path", "/dev is made anew at each start of the device"),
        ({"path": "/" + "a" * 300}, "path", "A name in this path is longer than 255 bytes"),
        ({"excludes": "/srv"}, "excludes", "/srv leaves out everything in /srv."),
        ({"excludes": "*"}, "excludes", "* would leave out everything."),
        ({"excludes": "\n".join(f"x{n}" for n in range(201))}, "excludes", "At most 200 patterns"),
        ({"mode": "cold"}, "services", "Name what stops while these files are copied"),
        ({"accepted_problems": "-3"}, "accepted_problems", "Write a whole number of files"),
        ({"longest_freeze": "11 s"}, "longest_freeze", "From 1 ms to 10 s"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_meant(
    operator: Client, fields: dict[str, str], field: str, sentence: str
) -> None:
    answer = operator.post("/policies/new/", {**GOOD, **row(**fields), "devices": [make_device().pk]})
    assert answer.status_code == 422
    (form,) = answer.context["sources"].forms
    assert any(each.startswith(sentence) for each in form.errors.get(field, [])), form.errors
    assert not Policy.objects.exists()


def test_ten_thousand_sources_are_refused_in_one_sentence(operator: Client) -> None:
    answer = operator.post("/policies/new/", {**GOOD, "sources-TOTAL_FORMS": "10000"})
    assert answer.status_code == 422
    assert answer.context["sources"].non_form_errors()
    assert not Policy.objects.exists()


def test_more_fields_than_a_form_has_are_refused_before_they_are_read(operator: Client) -> None:
    many = {f"sources-{number}-path": "/srv" for number in range(10_000)}
    assert operator.post("/policies/new/", {**GOOD, **many}).status_code == 400
    assert not Policy.objects.exists()
