"""The pages of policies, devices, retention and repositories as axe-core judges them: light and dark, wide
and as wide as a phone. Some fifteen seconds on two cores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page

from tests.browser.fleet_ground import fetch, fill, list_pages, list_posts
from tests.browser.test_cold_form import ORIGIN, Console, console, make_known_device, open_page

__all__ = ["console"]

pytestmark = [pytest.mark.browser, pytest.mark.django_db]
VENDOR = Path(__file__).parent / "vendor"
(AXE,) = json.loads((VENDOR / "manifest.json").read_text())
JUDGE = """async () => {
  const {violations} = await axe.run(document, {resultTypes: ["violations"], preload: false});
  return violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 160)}`));
}"""
BAD_PAGE = b"<html><title>x</title><img src=a><p style='color:#ccc;background:#fff'>pale</p><input>"
Scheme = Literal["light", "dark"]
Way = tuple[Scheme, int]
WAYS: tuple[Way, ...] = (("light", 1440), ("dark", 390), ("dark", 1440), ("light", 390))


def judge(page: Page, path: str, scheme: Scheme, width: int) -> list[str]:
    """Return what axe-core finds on a page. It is opened anew: colours that fade are judged half way."""
    page.set_viewport_size({"width": width, "height": 1000})
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{ORIGIN}{path}")
    found: list[str] = page.evaluate(JUDGE)
    if page.evaluate("document.documentElement.scrollWidth") > width:
        found.append("too wide")
    return found


def prepare(console: Console) -> dict[str, str]:
    """Fetch every page; return its address here by its name."""
    device = make_known_device()
    fill(device)
    pages = {name: (path, None, 200) for name, path in list_pages(device).items()}
    for name, (path, typed, status) in {**pages, **list_posts()}.items():
        console.pages[f"/{name}"] = fetch(console.client, path, typed, status)
    return {name.removeprefix("/"): name for name in console.pages}


def check(console: Console, choose: Callable[[int], Sequence[Way]]) -> None:
    """Judge each page, by its number, in the ways that are chosen for it."""
    named = prepare(console)
    with open_page(console, "/none") as page:
        page.add_init_script((VENDOR / AXE["file"]).read_text())
        faults = [
            f"{name} {scheme} {width}: {fault}"
            for number, (name, path) in enumerate(named.items())
            for scheme, width in choose(number)
            for fault in judge(page, path, scheme, width)
        ]
    assert faults == []
    assert console.errors == []


def test_every_page_in_one_of_four_ways(console: Console) -> None:
    check(console, lambda number: [WAYS[number % len(WAYS)]])


@pytest.mark.full
def test_every_page_in_all_four_ways(console: Console) -> None:
    check(console, lambda number: WAYS)


def test_axe_finds_what_is_wrong(console: Console) -> None:
    console.pages["/bad"] = BAD_PAGE
    with open_page(console, "/none") as page:
        page.add_init_script((VENDOR / AXE["file"]).read_text())
        found = {fault.partition(":")[0] for fault in judge(page, "/bad", "light", 1440)}
    assert {"image-alt", "color-contrast", "label", "html-has-lang"} <= found


def test_axe_is_the_file_of_its_manifest() -> None:
    assert hashlib.sha256((VENDOR / AXE["file"]).read_bytes()).hexdigest() == AXE["sha256"]
    assert AXE["version"] in AXE["source"] and (VENDOR / AXE["licence_file"]).stat().st_size > 300
