"""Coverage by size: what policies keep of a device, what was left out, what is in no source."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.utils.html import strip_tags

from agents.facts import DeviceFacts
from agents.facts.fills import Fill
from backupsite.console.coverage_sizes import Covered, draw_coverage, measure_coverage
from backupsite.policies.models import Source
from tests.agents.facts.samples import make_facts, make_mount
from tests.backupsite.instances import make_postgresql
from tests.backupsite.making import make_policy

GB = 10**9
KEY = "postgresql:15/main"


def facts_of(*fills: Fill) -> DeviceFacts:
    facts = make_facts(
        make_mount("/srv/pg", "xfs", "8:17"),
        make_mount("/old", "ext4", "8:18"),
        make_mount("/pool", "fuse.mergerfs", "0:60"),
        make_mount("/mnt/nfs", "nfs4", "0:50"),
    )
    return replace(facts, instances=(make_postgresql("/srv/pg/15"),), fills=fills)


FILLS = (Fill("/", 10 * GB), Fill("/data", 50 * GB), Fill("/srv/pg", 30 * GB), Fill("/old", 7 * GB))


@pytest.mark.django_db
def test_each_file_system_is_shared_out_among_what_keeps_it() -> None:
    nightly, hourly = (
        make_policy(name="nightly", paths=("/data", "/etc")),
        make_policy(name="hourly", paths=()),
    )
    Source.objects.create(policy=hourly, application="postgresql", instance="15/main")
    Source.objects.create(policy=nightly, path="/old", mode=Source.OUT)
    stored = {(nightly.pk, "/etc"): GB, (nightly.pk, "/data"): 60 * GB, (hourly.pk, KEY): 40 * GB}
    rows = measure_coverage(facts_of(*FILLS), Source.objects.select_related("policy"), stored)
    assert rows == [
        Covered("/", 10 * GB, {"nightly": GB}),
        Covered("/old", 7 * GB, {}, is_rest_out=True),
        Covered("/data", 50 * GB, {"nightly": 50 * GB}),
        # its restore point is larger than what it was made from is today
        Covered("/srv/pg", 30 * GB, {"hourly": 30 * GB}),
    ]
    drawn = draw_coverage(rows)
    assert drawn is not None
    for said in ("81.0 GB kept by policies", "7.0 GB left out on purpose", "9.0 GB in no source"):
        assert all(said in strip_tags(each).replace("\xa0", " ") for each in drawn), said


def test_what_was_not_measured_is_not_known() -> None:
    rows = measure_coverage(facts_of(), [], {})
    assert {row.words for row in rows} == {"not measured"} and draw_coverage(rows) is None
    assert all(row.rest_words == "" for row in rows)
