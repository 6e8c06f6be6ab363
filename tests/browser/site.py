"""A whole console in a directory of its own, started as a person starts it, and a browser in front of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.live.ground import wait_until

TOP = Path(__file__).resolve().parents[2]
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Site:
    """`manage.py serve` as a process. `stop` is Ctrl-C."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = _free_port()
        self.origin = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and return the address that it prints."""
        output = self.home.with_name(f"{self.home.name}.log")
        environment = {**os.environ, "HOTFLEET_HOME": str(self.home), "HOTFLEET_PORT": str(self.port)}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        environment.pop("DATABASE_URL", None)
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "serve"],
                cwd=TOP,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        found: list[str] = []

        def is_ready() -> bool:
            found[:] = re.findall(rf"{self.origin}/\S*", output.read_text())
            return bool(found)

        wait_until(is_ready, timeout_s=90, what=f"the address of the console ({output})")
        return found[0]

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(90)
            self._process = None

    @property
    def log(self) -> str:
        return self.home.with_name(f"{self.home.name}.log").read_text()


@contextlib.contextmanager
def open_browser(errors: list[str]) -> Iterator[Page]:
    """Give a page of Debian's Chromium. What goes wrong in it (scripts, CSP, 500s) is added to `errors`."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = chromium.new_context(viewport={"width": 1440, "height": 1000}).new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(f"script: {error}"))
        page.on("console", lambda said: errors.append(said.text) if _is_wrong(said.text, said.type) else None)
        page.on("response", lambda answer: errors.append(answer.url) if answer.status >= 500 else None)
        yield page
        chromium.close()


def _is_wrong(text: str, kind: str) -> bool:
    return "Content Security Policy" in text or (kind == "error" and "Failed to load resource" not in text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
