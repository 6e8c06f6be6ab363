"""The policy's form in a real browser: rows, preview, and that the server takes what came of it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

import pytest
from django.test import Client
from playwright.sync_api import Page, Route, sync_playwright

from backupsite.policies.models import Policy
from tests.backupsite.making import make_device

pytestmark = [pytest.mark.browser, pytest.mark.django_db]
STATIC = Path(__file__).resolve().parents[2] / "static"
ORIGIN = "http://console.test"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}


class Answers:
    """Answers the browser without a server: the page that was fetched before, the static files, previews."""

    def __init__(self, html: str) -> None:
        self.html = html
        self.previews: list[str] = []
        self.saved: list[str] = []

    def __call__(self, route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN)
        file = STATIC / path.removeprefix("/static/")
        if path == "/policies/preview/":
            self.previews.append(route.request.post_data or "")
            route.fulfill(body='<div id="policy-preview">seen</div>', content_type="text/html")
        elif route.request.method == "POST":
            self.saved.append(route.request.post_data or "")
            route.fulfill(body="saved", content_type="text/html")
        elif path.startswith("/static/") and file.is_file():
            route.fulfill(body=file.read_bytes(), content_type=TYPES.get(file.suffix, "text/plain"))
        else:
            route.fulfill(body=self.html, content_type="text/html")


def fill(page: Page) -> None:
    page.goto(f"{ORIGIN}/policies/new/")
    page.fill("[name=name]", "hourly")
    page.fill("[name='sources-0-path']", "/wrong")
    page.click("[data-row-add]")
    # The new row has the focus.
    page.keyboard.type("/etc")
    page.click("[data-row-add]")
    page.keyboard.type("/srv")
    page.locator("[data-row-remove]").first.click()
    page.check("text=db-01")
    page.wait_for_function("document.getElementById('policy-preview').textContent === 'seen'")
    page.click("button[value=save]")
    page.wait_for_function("document.body.textContent === 'saved'")


def test_rows_are_renumbered_and_the_preview_follows(operator: Client) -> None:
    device = make_device()
    answers = Answers(operator.get("/policies/new/").content.decode())
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = chromium.new_page()
        page.route("**/*", answers)
        fill(page)
        chromium.close()
    posted = parse_qs(answers.saved[0], keep_blank_values=True)
    assert posted["sources-TOTAL_FORMS"] == ["2"]
    assert [posted[f"sources-{number}-path"] for number in (0, 1)] == [["/etc"], ["/srv"]]
    assert "sources-2-path" not in posted
    assert posted["devices"] == [str(device.pk)]
    assert answers.previews, "the column beside the form follows what is typed"
    assert operator.post("/policies/new/", posted)["Location"] == "/policies/"
    assert list(Policy.objects.get().sources.values_list("path", flat=True)) == ["/etc", "/srv"]
