"""The file browser, search, versions and comparison in a real browser: picks stay, nothing is too wide."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from backupsite.recovery.folders import encode_path
from backupsite.recovery.index.adding import add
from tests.backupsite.making import make_device
from tests.backupsite.recovery.trees import Tree, Trees
from tests.browser.test_cold_form import ORIGIN, TOO_WIDE, Console, console, look, open_page

__all__ = ["console"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db]
DAY = 86_400_000
LONG = "a very long name that somebody wrote in one go because he thought that it says all " * 2


def make_tree(number: int) -> Tree:
    """A tree that changes from day to day."""
    at = round((timezone.now() - timedelta(days=20 - number)).timestamp() * 1000)
    invoices = {
        f"/srv/uploads/2026/invoice-{count:04}.pdf": (180_000 + count * 731, at - DAY * 9)
        for count in range(250)
    }
    changing = {"/srv/uploads/report.ods": (40_000 + number // 3 * 9_000, at - number % 3 * DAY)}
    old = {"/srv/uploads/2025/letter.odt": (12_000, 1_760_000_000_000)} if number < 5 else {}
    hostile = {
        '/srv/uploads/<b onclick=alert(1)>bold\n"\udcff\u202e.txt': (9, at),
        f"/srv/uploads/{LONG}.txt": (7, at),
    }
    return {**invoices, **changing, **old, **hostile, "/srv/index.html": (512, 1_760_000_000_000)}


@pytest.fixture
def trees(settings: Settings, tmp_path: Path) -> Trees:
    settings.HOTFLEET_HOME = tmp_path
    trees = Trees(make_device())
    for number in range(9):
        point = trees.make(make_tree(number), made_at=timezone.now() - timedelta(days=20 - number))
        add(point, walk=trees.walk)
    return trees


def test_picks_stay_while_one_looks_around(console: Console, trees: Trees) -> None:
    point = trees.device.restore_points.all()[0]
    page_url = point.get_absolute_url()
    uploads = f"?folder={encode_path('/srv/uploads')}"
    picked = f"&sort=name&path={encode_path('/srv/index.html')}"
    console.fetch(page_url)
    console.fetch(f"{page_url}{uploads}{picked}")
    console.fetch(
        f"{page_url}?folder={encode_path('/srv/uploads/2026')}&sort=name&path={encode_path('/srv/uploads/report.ods')}&path={encode_path('/srv/index.html')}"
    )
    with open_page(console, page_url) as page:
        look(page, "browse")
        page.get_by_role("checkbox", name="index.html").check()
        page.get_by_role("link", name="uploads", exact=True).click()
        page.get_by_text("Picked in other places").wait_for()
        assert page.url.endswith(f"{uploads}{picked}")
        page.get_by_role("checkbox", name="report.ods").check()
        look(page, "browse-picked")
        page.get_by_role("link", name="2026", exact=True).focus()
        page.keyboard.press("Enter")
        page.get_by_text("invoice-0000.pdf", exact=True).wait_for()
        assert page.locator("input[name=path]:checked").count() == 2
        page.get_by_role("checkbox", name="All on this page").check()
        assert page.locator("input[name=path]:checked").count() == 202
        assert page.get_by_text("Restore what is ticked…").is_visible()
    assert console.errors == []


@pytest.mark.parametrize(
    "name", ["browse", "search", "search-empty", "versions", "compare", "compare-folder", "points"]
)
def test_pages_fit_a_phone(console: Console, trees: Trees, client: Client, name: str) -> None:
    points = list(trees.device.restore_points.all())
    compared = reverse("points-compare", args=[points[-1].pk, points[0].pk])
    url = {
        "browse": f"{points[0].get_absolute_url()}?folder={encode_path('/srv/uploads')}",
        "search": "/search/files/?q=/srv/uploads/*&min=5",
        "search-empty": "/search/files/",
        "versions": f"/devices/db-01/versions/?path={encode_path('/srv/uploads/report.ods')}",
        "compare": compared,
        "compare-folder": f"{compared}?folder={encode_path('/srv/uploads')}",
        "points": "/devices/db-01/points/",
    }[name]
    console.fetch(url)
    with open_page(console, url) as page:
        look(page, f"paths-{name}")
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate(TOO_WIDE) == []
        assert page.url == f"{ORIGIN}{url}"
    assert console.errors == []
