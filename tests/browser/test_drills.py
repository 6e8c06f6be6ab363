"""The pages of drills in a real browser: they fit a phone, and a month of days scrolls inside of itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.drilling.evidence import Check, Evidence, FileHash
from agents.errors import DrillRefuted
from backupsite.policies.models import Source
from backupsite.recovery.drill_keeping import keep_evidence, keep_impossible
from backupsite.recovery.drill_models import Drill, DrillQuestion, DrillRule
from backupsite.recovery.models import RestorePoint
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point, make_policy, make_run
from tests.browser.test_cold_form import TOO_WIDE, Console, console, look, open_page

__all__ = ["console"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db]
GOOD = (
    Check("restore base.tar", True, "52,401,664,000 bytes were restored and read again", 812.0),
    Check("manifest", True, "1,214 files with 52,401,664,000 bytes are there, as many were stored", 9.0),
    Check("start", True, "consistent recovery state reached at 2C/7A0001F8", 31.0),
    Check("pg_amcheck", True, "8 databases, 1,902 relations", 240.0),
    Check("question 1", True, "answer: 18402, expected: > 0", 0.4),
)
BAD = Check(
    "pg_amcheck", False, 'heap table "shop.public.orders", block 8812, offset 5:\nxmin is in the future', 88
)
HASHES = tuple(FileHash(f"/srv/{'long-name-' * 12}{number}", 4096, f"{number:x}" * 64) for number in range(3))


def make_evidence(seconds: float, *checks: Check) -> Evidence:
    notes = ("Tablespaces on other disks are not in this restore point.",)
    return Evidence(checks or GOOD, 1214, 52_401_664_000, 820.0, 31.0, seconds, HASHES, notes)


def make_month() -> Drill:
    """A small fleet with a month of drills: good ones, slow ones, a bad one, one that could not be done."""
    now = timezone.now()
    devices = [
        make_device(name) for name in ("db-01", "db-02", "files-01", "mail", "a-device-with-a-long-name-07")
    ]
    policy = make_policy(*devices, name="pg-prod")
    Source.objects.create(policy=policy, application="postgresql", instance="15/main")
    DrillRule.objects.create(policy=policy, rhythm=DrillRule.DAILY, rto=timedelta(minutes=30))
    for place, device in enumerate(devices[:4]):
        point = make_point(
            device, policy, now - timedelta(hours=3), source="postgresql:15/main", method="stream"
        )
        for day in range(29, -1, -1 - place):
            keep_at(
                point, day, make_evidence(1000 + 37 * ((day * 7 + place) % 11) + (1500 if day == 9 else 0))
            )
    make_point(devices[4], policy, now)
    text = "select count(*) from orders where at > now() - interval '1 day'"
    DrillQuestion.objects.create(policy=policy, source="postgresql:15/main", text=text, value="0")
    other = RestorePoint.objects.filter(device=devices[2]).get()
    keep_impossible(make_run(devices[2], State.FAILED, Run.DRILL), [other], "bwrap is missing", "Install it.")
    make_run(devices[1], State.QUEUED, Run.DRILL)
    return keep_at(RestorePoint.objects.get(device=devices[1]), 0, make_evidence(1210, *GOOD[:3], BAD))


def keep_at(point: RestorePoint, days_ago: int, evidence: Evidence) -> Drill:
    state = State.SUCCEEDED if evidence.is_passed else State.FAILED
    asked = {"points": [str(point.pk)]}
    code = "" if evidence.is_passed else DrillRefuted.code
    run = make_run(point.device, state, Run.DRILL, request=asked, error_code=code)
    keep_evidence(run, [point], evidence)
    Drill.objects.filter(run=run).update(at=timezone.now() - timedelta(days=days_ago))
    return Drill.objects.get(run=run)


def test_the_pages_fit_a_phone(console: Console) -> None:
    bad = make_month()
    good = Drill.objects.filter(device__slug="db-01").first()
    assert good is not None
    assert bad.run is not None
    pages = {
        "drills": "/drills/",
        "drills-device": "/devices/db-01/drills/",
        "drill-passed": good.get_absolute_url(),
        "drill-failed": bad.get_absolute_url(),
        "drill-rules": "/policies/pg-prod/drills/",
        "drill-point": RestorePoint.objects.get(device__slug="db-02").get_absolute_url(),
        "drill-points": "/points/",
        "drill-device-page": "/devices/db-01/",
        "drill-run": f"/runs/{bad.run.number}/",
    }
    for path in pages.values():
        console.fetch(path)
    for name, path in pages.items():
        with open_page(console, path) as page:
            look(page, name)
            page.set_viewport_size({"width": 390, "height": 1000})
            wide = [each for each in page.evaluate(TOO_WIDE) if "drill-" not in each]
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, wide
    assert console.errors == []


def test_the_evidence_is_printed_without_the_frame(console: Console) -> None:
    path = make_month().get_absolute_url()
    console.fetch(path)
    with open_page(console, path) as page:
        page.emulate_media(media="print")
        for frame in (".sidebar", ".topbar", ".page-actions"):
            assert not page.locator(frame).first.is_visible(), frame
        assert page.get_by_text("xmin is in the future").is_visible()
