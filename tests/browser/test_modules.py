"""Every module of ours is loaded by a real browser, and says the same as its half in Python."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from backupsite.web.formatting import format_ago

pytestmark = pytest.mark.browser
STATIC = Path(__file__).resolve().parents[2] / "static"
MODULES = sorted(p.name for p in (STATIC / "js").glob("*.js"))
ORIGIN = "http://console.test"
AGES_S = [
    0,
    9,
    10,
    59,
    60,
    3599,
    3600,
    48 * 3600 - 1,
    48 * 3600,
    60 * 86400,
    729 * 86400,
    800 * 86400,
    -45,
    -7200,
]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    def answer(route: Route) -> None:
        file = STATIC / route.request.url.removeprefix(f"{ORIGIN}/static/")
        if file.is_file():
            route.fulfill(body=file.read_bytes(), content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><title>empty</title>", content_type="text/html")

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        opened = chromium.new_page()
        opened.route("**/*", answer)
        opened.goto(f"{ORIGIN}/")
        yield opened
        chromium.close()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_loads_on_a_page_that_has_none_of_its_elements(page: Page, name: str) -> None:
    assert page.evaluate("name => import(name).then(() => 'loaded')", f"/static/js/{name}") == "loaded"


def test_relative_times_have_the_same_words_as_on_the_server(page: Page) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    expected = [format_ago(now - timedelta(seconds=age), now) for age in AGES_S]
    words = page.evaluate(
        "ages => import('/static/js/times.js').then((m) => ages.map((age) => m.formatAgo(age)))", AGES_S
    )
    assert words == expected
