"""A run that reads a repository for maintenance keeps to the limits of its storage; what it read is noted."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from types import TracebackType
from typing import Self

from django.utils import timezone

from agents.gateway.metered import Meter
from agents.repositories import RepositoryPlace
from backupsite.recovery.places import place_of
from backupsite.repositories.models import Repository
from backupsite.repositories.reading import (
    CODE,
    count_held,
    count_used,
    find_closed,
    limits_of,
    note_read,
)
from backupsite.runs.due import SCHEDULE
from backupsite.runs.kinds import PutOff
from backupsite.runs.models import Run

_NOTE_EVERY_S = 5.0


class Metering:
    """The limits of the storage of one repository during a run: a context. What was read is noted while it
    works and at the end, however that ends; a worker that is killed takes some seconds of it along. One that
    is not held only counts."""

    def __init__(self, repository: Repository, run: Run, *, is_held: bool = True) -> None:
        self._repository, self._storage = repository, repository.storage
        self._is_asked = run.requested_by != SCHEDULE
        limits = limits_of(self._storage, count_held(self._storage))
        self._meter = Meter(limits.rate_bytes_s) if limits.is_any else None
        self.limits = limits if is_held else replace(limits, budget_bytes=None, begins=None, ends=None)
        self._used = count_used(self._storage, timezone.now())
        self._noted, self._noted_at = 0, time.monotonic()
        self._thread = threading.get_ident()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._note()

    def require_open(self) -> None:
        """Raise PutOff when nothing is read of the storage now."""
        closed = find_closed(self.limits, self._used, timezone.now(), is_asked=self._is_asked)
        if closed is not None:
            raise PutOff(closed.until, CODE, closed.why)

    def place(self) -> RepositoryPlace:
        """Return where the repository lies; what is read of it from there on is counted. For workers only."""
        place = place_of(self._repository)
        return place if self._meter is None else replace(place, meter=self._meter)

    def find_end(self) -> str:
        """Return why nothing more is to be read now; "" when something may be."""
        if self._meter is None:
            return ""
        self.look()
        used = self._used + self._meter.read_bytes - self._noted
        closed = find_closed(self.limits, used, timezone.now(), is_asked=self._is_asked)
        return closed.why if closed is not None else ""

    def look(self) -> None:
        """Note what was read, if the last time was not just now. Does nothing in other threads."""
        is_time = time.monotonic() - self._noted_at >= _NOTE_EVERY_S
        if is_time and threading.get_ident() == self._thread:
            self._note()
            # Others read of the same storage.
            self._used = count_used(self._storage, timezone.now())

    def _note(self) -> None:
        if self._meter is None:
            return
        read = self._meter.read_bytes
        if read > self._noted:
            note_read(self._storage.pk, read - self._noted, timezone.now())
            self._used += read - self._noted
            self._noted = read
        self._noted_at = time.monotonic()
