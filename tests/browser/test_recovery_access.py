"""The pages of recovery for whoever has no mouse, or does not see them: names, order, and a phone's width."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.urls import reverse
from playwright.sync_api import Page

from backupsite.recovery.drill_models import Drill
from backupsite.recovery.folders import encode_path
from backupsite.recovery.models import Download, RestorePoint
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point
from tests.backupsite.recovery.test_restore_applications import make_stream
from tests.backupsite.recovery.trees import Trees
from tests.browser.test_cold_form import ORIGIN, TOO_WIDE, Console, console, look, open_page
from tests.browser.test_drills import make_month
from tests.browser.test_paths import trees
from tests.browser.test_restore_form import make_seen_point

__all__ = ["console", "trees"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db]

FAULTS = (Path(__file__).parent / "faults.js").read_text()
# Where the keyboard is, and whether one sees it there.
FOCUSED = """() => {
  const each = document.activeElement, held = each.closest("label") ?? each;
  const isMarked = (one) => {
    const style = getComputedStyle(one.querySelector(".chart a > svg .mark, .chart a > .mark") ?? one);
    if (one.closest(".chart")) return style.strokeWidth === "4px";
    return style.outlineStyle !== "none" || style.boxShadow !== "none";
  };
  return {
    place: [...document.querySelectorAll("*")].indexOf(each), name: each.outerHTML.slice(0, 120),
    isBody: each === document.body, // the browser marks the parts of a date by itself
    isSeen: isMarked(each) || isMarked(held) || each.type === "date",
  };
}"""
BAD_PAGE = """<title>x</title><h1>a</h1><h3>b</h3><p id=a></p><p id=a></p><a href="/x"></a><input>
<p aria-labelledby=gone></p><fieldset></fieldset><table><tr><td></table><b tabindex=1></b><svg></svg>"""


def find_unreached(page: Page) -> list[str]:
    """Walk through the page by Tab; return what is out of order, or where nobody sees the keyboard."""
    faults: list[str] = []
    first = last = -1
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        if found["isBody"] or (found["place"] == first < last):
            break  # once around
        first = found["place"] if first < 0 else first
        if found["place"] < last:  # a date has several places in one field
            faults.append(f"goes back to {found['name']}")
        if not found["isSeen"]:
            faults.append(f"not to be seen at {found['name']}")
        last = found["place"]
    return faults if last > 0 else ["the keyboard reaches nothing"]


def read_paths(trees: Trees) -> dict[str, str]:
    points = list(trees.device.restore_points.all())
    compared = reverse("points-compare", args=[points[-1].pk, points[0].pk])
    Download.objects.create(
        point=points[0], requested_by="ada", path_key=encode_path("/srv/uploads"), archive="zip",
        is_ready=True, size_bytes=48_213_000, expires_at=points[0].made_at.replace(year=2099),
    )  # fmt: skip
    return {
        "browse": f"{points[0].get_absolute_url()}?folder={encode_path('/srv/uploads')}",
        "search": "/search/files/?q=/srv/uploads/*&min=5",
        "search-nothing": "/search/files/?q=nobody-has-this",
        "search-empty": "/search/files/",
        "versions": f"/devices/db-01/versions/?path={encode_path('/srv/uploads/report.ods')}",
        "compare": compared,
        "compare-folder": f"{compared}?folder={encode_path('/srv/uploads')}",
        "points": "/devices/db-01/points/",
        "device": "/devices/db-01/",
        "download": reverse("download", args=[Download.objects.get().pk]),
    }


def read_restores() -> dict[str, str]:
    point = make_seen_point()
    ended = Run.objects.create(
        number=99, device=point.device, kind=Run.RESTORE, queued_at=point.made_at, requested_by="ada",
        request={
            "point": str(point.pk), "folder": encode_path("/srv/uploads"), "names": [], "target": None,
            "conflict": "replace", "mode": "merge", "is_whole_system": False, "size_bytes": 1, "safety": True,
        },
        state=State.SUCCEEDED,
    )  # fmt: skip
    make_point(point.device, None, point.made_at, "/srv/uploads", run=ended)
    return {"restore": "/devices/db-01/restore/", "restores": "/restores/", "undo": "/restores/99/undo/"}


def read_comeback() -> dict[str, str]:
    return {"comeback": reverse("point-comeback", args=[make_stream().pk])}


def read_drills() -> dict[str, str]:
    bad = make_month()
    good = Drill.objects.filter(device__slug="db-01").first()
    assert good is not None
    return {
        "drills": "/drills/",
        "device-drills": "/devices/db-01/drills/",
        "evidence-passed": good.get_absolute_url(),
        "evidence-failed": bad.get_absolute_url(),
        "drill-rules": "/policies/pg-prod/drills/",
        "refuted-point": RestorePoint.objects.get(device__slug="db-02").get_absolute_url(),
    }


def read_nothing() -> dict[str, str]:
    """The same pages before there is anything."""
    make_device()
    return {
        "no-points": "/points/",
        "no-device-points": "/devices/db-01/points/",
        "no-restore": "/devices/db-01/restore/",
        "no-restores": "/restores/",
        "no-drills": "/drills/",
        "no-device-drills": "/devices/db-01/drills/",
    }


def check(console: Console, pages: dict[str, str]) -> None:
    for path in pages.values():
        console.fetch(path)
    with open_page(console, next(iter(pages.values()))) as page:
        for name, path in pages.items():
            page.set_viewport_size({"width": 1440, "height": 1000})
            page.goto(f"{ORIGIN}{path}")
            look(page, f"recovery-{name}")
            assert page.evaluate(FAULTS) == [], name
            assert find_unreached(page) == [], name
            page.set_viewport_size({"width": 390, "height": 800})
            wide = [each for each in page.evaluate(TOO_WIDE) if "drill-" not in each]
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, (name, wide)
    assert console.errors == []


def test_files(console: Console, trees: Trees) -> None:
    check(console, read_paths(trees))


@pytest.mark.parametrize("read", [read_restores, read_comeback, read_drills, read_nothing])
def test_restores_and_drills(console: Console, read: Callable[[], dict[str, str]]) -> None:
    check(console, read())


def test_the_search_for_faults_finds_them(console: Console) -> None:
    console.pages["/bad/"] = BAD_PAGE.encode()
    with open_page(console, "/bad/") as page:
        found = page.evaluate(FAULTS)
        words = {each.partition(":")[0] for each in found}
        assert words == {
            "one id twice", "no name", "no label", "names nothing", "no legend", "no heads",
            "jumps the queue", "a picture without a role", "a heading of level 3 without one above it",
            "no main", "no language or title",
        }  # fmt: skip
        page.add_style_tag(content="* { outline: none !important }")
        assert find_unreached(page) != []
