"""A browser in front of a console."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from playwright.sync_api import Page, sync_playwright

CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextlib.contextmanager
def open_browser(errors: list[str]) -> Iterator[Page]:
    """Give a page of Debian's Chromium. What goes wrong in it (scripts, CSP, 500s) is added to `errors`."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=CHROMIUM, timeout=120_000
        )
        page = chromium.new_context(viewport={"width": 1440, "height": 1000}).new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(f"script: {error}"))
        page.on("console", lambda said: errors.append(said.text) if _is_wrong(said.text, said.type) else None)
        page.on("response", lambda answer: errors.append(answer.url) if answer.status >= 500 else None)
        yield page
        chromium.close()


def _is_wrong(text: str, kind: str) -> bool:
    return "Content Security Policy" in text or (kind == "error" and "Failed to load resource" not in text)
