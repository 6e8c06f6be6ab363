"""A home with the workers' keys, and a real web hook to send to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from agents.commands import Secret
from backupsite import vault
from backupsite.alerts.addresses import read_address
from backupsite.alerts.models import Target
from backupsite.alerts.notices import owner_of


@dataclass
class Hook:
    """A web hook: what arrived, and what it answers next."""

    url: str = ""
    status: int = 200
    delay_s: float = 0.0
    messages: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.messages.append(json.loads(body))
            time.sleep(found.delay_s)
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing in the middle of a test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"json://person:s3cret-word@127.0.0.1:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def keys(tmp_path: Path, settings: Settings) -> Path:
    settings.HOTFLEET_HOME = tmp_path
    vault.create_keys()
    return tmp_path


@pytest.fixture
def target(db: None, keys: Path, hook: Hook) -> Target:
    address = read_address(hook.url)
    made = Target(name="hook", scheme=address.scheme, masked_host=address.masked_host)
    made.sealed_url = vault.seal(owner_of(made), Secret(hook.url))
    made.save()
    return made
