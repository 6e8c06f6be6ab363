"""A backup in a thread, so that something can happen to it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agents.errors import AgentError
from agents.events import Moved
from agents.plan import SourceRequest
from agents.storing import Point
from tests.live.flows import Console
from tests.live.ground import wait_until


class Worker(threading.Thread):
    """Ends with `points`, or with `error`."""

    def __init__(self, console: Console, *sources: str | SourceRequest, fallback: str = "fail") -> None:
        super().__init__(daemon=True)
        self.console, self.sources, self.fallback = console, sources, fallback
        self.error: AgentError | None = None
        self.points: tuple[Point, ...] = ()

    def run(self) -> None:
        try:
            self.points = self.console.back_up(*self.sources, fallback=self.fallback).points
        except AgentError as error:
            self.error = error

    def wait_until_read(self, size: int) -> None:
        """Return when restic has read so many bytes, and not all of them."""
        self._wait(lambda event: event.bytes_done >= size, f"{size} bytes read")

    def wait_until_stored(self, size: int) -> None:
        """Return when so many bytes are stored, and the backup is not over."""
        self._wait(lambda event: event.stored_bytes >= size, f"{size} stored bytes")

    def _wait(self, is_far: Callable[[Moved], bool], what: str) -> None:
        def is_there() -> bool:
            assert self.is_alive(), f"it ended too early: {self.error!r}"
            return any(is_far(event) for event in self.console.events if isinstance(event, Moved))

        wait_until(is_there, timeout_s=300, what=what)
