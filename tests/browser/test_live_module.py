"""The live module in a real browser against a real socket: the server speaks, is silent, sends them away.

The server is small and ours to cut; the pages are the real templates under the real CSP.
"""

from __future__ import annotations

import asyncio
import json
import mimetypes
import threading
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.template import engines
from django.test import RequestFactory
from django.urls import include, path
from playwright.sync_api import Browser, Page, expect, sync_playwright
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

urlpatterns = [path("", include("backupsite.web.urls"))]
pytestmark = [pytest.mark.browser, pytest.mark.urls(__name__)]
STATIC = Path(__file__).resolve().parents[2] / "static"
CSP = "; ".join(
    f"{name} {' '.join(sources)}" for name, sources in settings.CONTENT_SECURITY_POLICY["DIRECTIVES"].items()
)
REGION = """<section id="progress" data-live-topic="run:42" data-live-title="{count} % · db-01"
  hx-get="/fragment/" hx-trigger="live:refresh" hx-swap="morph:outerHTML"><p id="count">{count}</p>
  <details id="more"><summary>More</summary><p>inside</p></details></section>"""
PAGE = (
    '{% extends "base.html" %}{% block content %}'
    + REGION.format(count=0)
    + '<input id="name">{% endblock %}'
)


class Console:
    """A console that does as it is told: pages by HTTP, hints by socket, one port."""

    def __init__(self) -> None:
        self.count = 0
        self.close_code: int | None = None
        self.is_signed_out = self.is_gone = self.refuses = False
        self.sockets: set[ServerConnection] = set()
        self.asked: list[str] = []
        self.page = b""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(60)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)

    def say(self, message: dict[str, object]) -> None:
        async def send() -> None:
            for socket in list(self.sockets):
                await socket.send(json.dumps(message))

        asyncio.run_coroutine_threadsafe(send(), self._loop).result(60)

    def cut(self, code: int) -> None:
        async def close() -> None:
            for socket in list(self.sockets):
                await socket.close(code)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(60)

    async def _serve(self) -> None:
        async with serve(self._watch, "127.0.0.1", 0, process_request=self._answer) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._ready.set()
            await self._stop.wait()

    async def _watch(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.asked.append(socket.request.path)
        if self.close_code is not None:
            await socket.close(self.close_code)
            return
        self.sockets.add(socket)
        await socket.send('{"t": "beat"}')
        await socket.wait_closed()
        self.sockets.discard(socket)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        where = request.path.partition("?")[0]
        if where == "/ws/live/":
            return Response(503, "", Headers(), b"") if self.refuses else None
        if where == "/fragment/":
            if self.is_gone:
                return Response(404, "", Headers({"Content-Length": "0"}), b"")
            if self.is_signed_out:
                return Response(302, "", Headers({"Location": "/login/", "Content-Length": "0"}), b"")
            return respond(REGION.format(count=self.count).encode(), "text/html; charset=utf-8")
        if where == "/login/":
            return respond(b"<p id='progress'>Please sign in</p>", "text/html")
        if where.startswith("/static/"):
            file = STATIC / where.removeprefix("/static/")
            return respond(file.read_bytes(), mimetypes.guess_type(file.name)[0] or "font/woff2")
        return respond(self.page, "text/html; charset=utf-8")


def respond(body: bytes, kind: str) -> Response:
    headers = Headers(
        {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": CSP}
    )
    return Response(HTTPStatus.OK, "OK", headers, body)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def console() -> Iterator[Console]:
    running = Console()
    request = RequestFactory().get("/runs/42/")
    request.user = AnonymousUser()
    running.page = str(engines["django"].from_string(PAGE).render({}, request)).encode()
    running.start()
    yield running
    running.stop()


@pytest.fixture
def page(browser: Browser, console: Console) -> Iterator[Page]:
    opened = browser.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "console", lambda line: faults.append(line.text) if "Content Security Policy" in line.text else None
    )
    opened.clock.install()
    opened.goto(f"http://127.0.0.1:{console.port}/runs/42/")
    yield opened
    opened.close()
    assert faults == []


def test_a_hint_changes_the_page_and_keeps_what_the_reader_did(page: Page, console: Console) -> None:
    expect(page.locator("#live-state")).to_have_text("Live")
    assert console.asked == ["/ws/live/?topic=run%3A42"]
    page.locator("#more summary").click()
    page.locator("#name").fill("typed")
    page.evaluate("document.getElementById('count').dataset.mark = 'same element'")
    console.count = 63
    console.say({"t": "hint", "topic": "run:42", "seq": 1})
    page.clock.run_for(1000)
    expect(page.locator("#count")).to_have_text("63")
    expect(page).to_have_title("63 % · db-01")
    expect(page.locator("#more")).to_have_attribute("open", "")
    expect(page.locator("#name")).to_have_value("typed")


def test_another_topic_changes_nothing(page: Page, console: Console) -> None:
    expect(page.locator("#live-state")).to_have_text("Live")
    page.wait_for_load_state("networkidle")
    console.count = 7
    console.say({"t": "hint", "topic": "run:7", "seq": 1})
    page.clock.run_for(2000)
    expect(page.locator("#count")).to_have_text("0")


def test_a_lost_console_is_said_and_what_was_missed_is_fetched(page: Page, console: Console) -> None:
    expect(page.locator("#live-state")).to_have_text("Live")
    console.refuses = True
    console.cut(1011)
    expect(page.locator("#live-state")).to_have_text("Reconnecting")
    page.clock.run_for(17_000)
    expect(page.locator("#live-stale")).to_be_visible()
    expect(page.locator("#live-stale")).to_contain_text("Backups keep running")
    console.count, console.refuses = 80, False
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#live-state")).to_have_text("Live")
    expect(page.locator("#live-stale")).to_be_hidden()
    page.clock.run_for(500)
    expect(page.locator("#count")).to_have_text("80")


def test_a_silent_socket_is_given_up(page: Page, console: Console) -> None:
    expect(page.locator("#live-state")).to_have_text("Live")
    page.clock.run_for(12_000)
    expect(page.locator("#live-state")).to_have_text("Reconnecting")
    page.clock.run_for(20_000)
    expect(page.locator("#live-state")).to_have_text("Live")
    assert len(console.asked) >= 2


def test_who_is_signed_out_is_told_and_not_retried(page: Page, console: Console) -> None:
    expect(page.locator("#live-state")).to_have_text("Live")
    console.cut(4401)
    expect(page.locator("#live-signed-out")).to_be_visible()
    tries = len(console.asked)
    page.clock.run_for(90_000)
    assert len(console.asked) == tries


def test_a_refused_socket_is_not_shown_as_live_nor_asked_in_a_hurry(page: Page, console: Console) -> None:
    expect(page.locator("#live-state")).to_have_text("Live")
    console.close_code = 1013
    console.cut(1013)
    expect(page.locator("#live-state")).to_have_text("Reconnecting")
    tries = len(console.asked)
    for _ in range(30):
        page.clock.run_for(1000)
        page.wait_for_timeout(10)
    assert len(console.asked) - tries <= 8
    expect(page.locator("#live-state")).to_have_text("Reconnecting")


def test_a_sign_in_page_never_lands_in_a_region(page: Page, console: Console) -> None:
    expect(page.locator("#live-state")).to_have_text("Live")
    console.is_signed_out = True
    console.say({"t": "hint", "topic": "run:42", "seq": 1})
    page.clock.run_for(1000)
    expect(page.locator("#live-signed-out")).to_be_visible()
    expect(page.locator("#count")).to_have_text("0")


def test_a_region_that_is_gone_is_said_to_be_old(page: Page, console: Console) -> None:
    expect(page.locator("#live-state")).to_have_text("Live")
    console.is_gone = True
    console.say({"t": "hint", "topic": "run:42", "seq": 1})
    page.clock.run_for(1000)
    expect(page.locator("#live-refused")).to_contain_text("no longer there")
    expect(page.locator("#count")).to_have_text("0")


def test_too_many_sockets_mean_polling(page: Page, console: Console) -> None:
    expect(page.locator("#live-state")).to_have_text("Live")
    console.cut(4429)
    expect(page.locator("#live-refused")).to_contain_text("every half minute")
    console.count = 9
    page.clock.run_for(45_000)
    expect(page.locator("#count")).to_have_text("9")
    expect(page.locator("#live-stale")).to_be_hidden()


def test_the_theme_changes_without_a_page_load(page: Page) -> None:
    page.evaluate("window.stillHere = true")
    page.get_by_label("Theme").click()
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("window.stillHere && document.cookie") == "theme=dark"
