"""Hands one message to Apprise, with a deadline, and turns what went wrong into words without secrets."""

from __future__ import annotations

import logging
import re
import threading
from io import StringIO
from typing import Any, Final

import apprise

from backupsite.alerts.addresses import HOSTED, capture, schemes_of

DEADLINE_S: Final = 30.0
SHORTEST_SECRET: Final = 5


class _Attempt:
    """What the thread found out. It outlives the deadline when a server drips its answer."""

    def __init__(self) -> None:
        self.is_sent = False
        self.problem = ""
        self.is_over = threading.Event()


def send(plugin: Any, title: str, body: str) -> str | None:
    """Given a plug-in, send; return None, or one sentence that says why not. Takes at most DEADLINE_S."""
    attempt = _Attempt()
    threading.Thread(target=_send, args=(attempt, plugin, title, body), daemon=True, name="notice").start()
    if not attempt.is_over.wait(DEADLINE_S):
        return f"The service did not answer within {DEADLINE_S:.0f} seconds."
    return None if attempt.is_sent else attempt.problem


def _send(attempt: _Attempt, plugin: Any, title: str, body: str) -> None:
    log = StringIO()
    try:
        with capture(level=logging.WARNING) as log:
            attempt.is_sent = bool(
                plugin.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT)
            )
            attempt.problem = _explain(plugin, log.getvalue())
    except Exception as error:  # noqa: BLE001 (a plug-in of a third party: whatever it raises is a result)
        attempt.problem = f"The service's plug-in failed: {type(error).__name__}."
    finally:
        attempt.is_over.set()


def _explain(plugin: Any, output: str) -> str:
    """Given Apprise's warnings, return the first one, unless it repeats a secret part of the address."""
    lines = [line.partition(" - WARNING - ")[2] or line for line in output.splitlines() if line.strip()]
    text = lines[0].strip() if lines else "The service refused the message."
    if any(part in text for part in _secret_parts(plugin)):
        return "The service refused the message or was not reached."
    return text[:180]


def _secret_parts(plugin: Any) -> set[str]:
    """Return every longer part of the address but its scheme and a host that is really one."""
    parts = {part for part in re.split(r"[/:@?&=#]", str(plugin.url())) if len(part) >= SHORTEST_SECRET}
    known = schemes_of(plugin)
    return parts - known - ({str(plugin.host)} if known & HOSTED else set())
