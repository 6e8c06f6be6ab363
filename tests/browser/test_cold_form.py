"""Hot, cold and applications in the policy's form, in a real browser: it asks for what the choice needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page, Route, sync_playwright

from agents.facts.device import to_json
from backupsite.fleet.models import Device
from backupsite.policies.models import Source
from tests.agents.facts.samples import make_facts, make_mount
from tests.backupsite.instances import make_etcd, make_postgresql
from tests.backupsite.making import make_device, make_point, make_policy, source_fields

pytestmark = [pytest.mark.browser, pytest.mark.django_db]
STATIC = Path(__file__).resolve().parents[2] / "static"
ORIGIN = "http://console.test"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
TOO_WIDE = """[...document.querySelectorAll("main *")]
    .filter(each => each.getBoundingClientRect().right > 391 && !each.closest(".tabs, svg"))
    .map(each => each.className + " " + each.textContent.trim().slice(0, 40)).slice(0, 5)"""
PICTURES = os.environ.get("HOTFLEET_PICTURES", "")


class Console:
    """The console without a server: pages were fetched before the browser runs, static files lie on disk."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.pages: dict[str, bytes] = {}
        self.errors: list[str] = []

    def fetch(self, path: str, posted: dict[str, object] | None = None) -> None:
        answer = self.client.get(path) if posted is None else self.client.post(path, posted)
        self.pages[path] = answer.content

    def __call__(self, route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN)
        file = STATIC / path.partition("?")[0].removeprefix("/static/")
        if path.startswith("/static/") and file.is_file():
            route.fulfill(body=file.read_bytes(), content_type=TYPES.get(file.suffix, "text/plain"))
        elif path in self.pages:
            route.fulfill(body=self.pages[path], content_type="text/html")
        else:
            route.fulfill(body="", content_type="text/html")


@pytest.fixture
def console(operator: Client) -> Console:
    return Console(operator)


@contextmanager
def open_page(console: Console, path: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1440, "height": 1000})
        page.on("pageerror", lambda error: console.errors.append(str(error)))
        page.route("**/*", console)
        page.goto(f"{ORIGIN}{path}")
        yield page
        chromium.close()


def look(page: Page, name: str) -> None:
    if not PICTURES:
        return
    for scheme in ("light", "dark"):
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 1000})
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.wait_for_timeout(300)
            page.screenshot(path=f"{PICTURES}/{name}-{scheme}-{width}.png", full_page=True)
    page.set_viewport_size({"width": 1440, "height": 1000})


def make_known_device() -> Device:
    facts = make_facts(make_mount("/srv/media", "xfs", "8:17"), paths=("/data",))
    long = [f"/var/lib/a-folder-with-a-very-long-name/{number}/{'x' * 60}" for number in range(14)]
    many = (replace(make_etcd(name), name=name, label=f"etcd {name}") for name in long)
    facts = replace(facts, instances=(make_postgresql("/data/pg"), make_etcd("/srv/media/etcd"), *many))
    return make_device(facts=to_json(facts), facts_at=timezone.now(), reached_at=timezone.now())


def test_what_is_asked_follows_what_is_chosen(console: Console) -> None:
    make_known_device()
    console.fetch("/policies/new/?device=db-01")
    with open_page(console, "/policies/new/?device=db-01") as page:
        row = page.locator(".source").first
        assert row.get_by_label("Path").is_visible()
        for hidden in ("Which one", "Command", "Services that stop meanwhile", "Longest downtime"):
            assert not row.get_by_label(hidden).is_visible(), hidden
        assert not page.locator(".cold-window").is_visible()
        row.get_by_label("Cold", exact=True).check()
        assert row.get_by_label("Services that stop meanwhile").is_visible()
        assert not row.get_by_label("If hot is impossible").is_visible()
        assert page.locator(".cold-window").is_visible()
        row.get_by_label("What", exact=True).select_option("postgresql")
        assert not row.get_by_label("Path").is_visible()
        assert not row.get_by_label("Services that stop meanwhile").is_visible()
        assert row.get_by_label("Which one").is_visible()
        row.get_by_label("Leave out", exact=True).check()
        assert not row.get_by_label("Longest downtime").is_visible()
        page.locator("[data-row-add]").click()
        second = page.locator(".source").nth(1)
        assert second.get_by_label("Path").is_visible()
        assert row.get_by_label("Leave out", exact=True).is_checked(), "rows do not take each other's choice"
    assert console.errors == []


def test_pages_for_a_person_to_look_at(console: Console) -> None:
    device = make_known_device()
    policy = make_policy(device, paths=("/data/www",), cold_is_enabled=True, rpo_hours=2)
    for key, mode in (("postgresql:15/main", "hot"), ("etcd:default", "both")):
        application, _, instance = key.partition(":")
        Source.objects.create(
            policy=policy, application=application, instance=instance, mode=mode, if_hot_impossible="wait"
        )
    Source.objects.create(policy=policy, path="/srv/media", mode="cold", services="nginx\nphp-fpm")
    Source.objects.create(policy=policy, path="/var/cache", mode="out")
    make_point(device, policy, timezone.now(), "/data/www")
    make_point(device, policy, timezone.now(), "postgresql:15/main", part="base.tar")
    for path, name in (
        ("/policies/hourly/", "policy-mixed"),
        ("/policies/new/?device=db-01", "policy-new"),
        ("/devices/db-01/", "device-found"),
        ("/policies/", "policies"),
    ):
        console.fetch(path)
        with open_page(console, path) as page:
            assert page.locator("main").is_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 1440
            page.set_viewport_size({"width": 390, "height": 1000})
            assert page.evaluate(TOO_WIDE) == [], f"{path} is too wide"
            look(page, name)
    assert console.errors == []


def test_each_row_says_what_would_happen_while_it_is_typed(console: Console) -> None:
    device = make_known_device()
    typed: dict[str, object] = {
        "when": "60", "at_time": "02:00", "weekday": "6", "time_zone": "UTC", "rpo": "2 h",
        "is_enabled": "on",
        "devices": [device.pk], "sources-TOTAL_FORMS": "1", "sources-INITIAL_FORMS": "0",
        **source_fields(path="/data/www"),
    }  # fmt: skip
    console.fetch("/policies/new/?device=db-01")
    console.fetch("/policies/preview/", typed)
    with open_page(console, "/policies/new/?device=db-01") as page:
        assert "and 6 more" in page.locator("#policy-found").inner_text()
        page.locator(".source").first.get_by_label("Path").fill("/data/www")
        page.wait_for_function("document.querySelector('#sources-0-outcome').textContent.includes('btrfs')")
        said = page.locator("#sources-0-outcome").inner_text()
        assert "btrfs snapshot, crash-consistent." in said and "As proposed." in said
        assert "1 hot" in page.locator("#policy-preview").inner_text()
        assert page.locator("#sources-0-outcome").count() == 1
        assert page.locator("#policy-found").count() == 1
    assert console.errors == []
