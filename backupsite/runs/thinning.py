"""Rows that a run makes all the time: a run of a week keeps as many as a run of ten minutes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.db.models import QuerySet


class Thinning:
    """One row a second; when there are too many, every second one of them goes and the pace is halved."""

    def __init__(
        self, rows: QuerySet[Any], most: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Given the rows of a run and how many are too many."""
        self._rows, self._most, self._clock = rows, most, clock
        self._pace_s = 0.5
        self._last = float("-inf")
        self._count = 0

    @property
    def is_due(self) -> bool:
        """Whether it is time for another row."""
        return self._clock() - self._last >= self._pace_s

    def note(self) -> None:
        """The next one is due a pace from now."""
        self._last = self._clock()

    def stored(self, count: int) -> None:
        """Given how many were stored, thin all of them, inside of the caller's transaction, if need be."""
        self._count += count
        if self._count >= self._most:
            thin(self._rows, 2)
            self._count = self._rows.count()
            self._pace_s = max(self._pace_s, 1.0) * 2


def thin(rows: QuerySet[Any], keep_every: int) -> None:
    """Keep every n-th row, oldest first, and the last one."""
    ids = list(rows.order_by("id").values_list("id", flat=True))
    doomed = [each for place, each in enumerate(ids[:-1]) if place % keep_every]
    for start in range(0, len(doomed), 500):
        rows.filter(pk__in=doomed[start : start + 500]).delete()
