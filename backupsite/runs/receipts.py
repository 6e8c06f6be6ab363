"""The receipts of a run on their way into the database: how long was held, what the device felt, when it
paused."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from agents import events
from backupsite.runs.models import Run, RunFigure, RunFreeze, RunImpact, RunPause
from backupsite.runs.texts import make_storable
from backupsite.runs.thinning import Thinning

MOST_IMPACTS = 600
# A device that says more is not believed any more.
MOST_FREEZES = 200
MOST_PAUSES = 2000
MOST_STEPS = 100


class ReceiptBook:
    """What waits to be stored. Impacts are thinned like samples."""

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._thinning = Thinning(RunImpact.objects.filter(run=run), MOST_IMPACTS, clock=clock)
        self._counts = {"freezes": 0, "pauses": 0}
        self._freezes: list[RunFreeze] = []
        self._impacts: list[RunImpact] = []
        self._pauses: list[RunPause] = []
        self._figures: dict[tuple[str, str], RunFigure] = {}

    def freeze(self, froze: events.Froze, now: datetime) -> None:
        if self._counts["freezes"] >= MOST_FREEZES:
            return
        self._counts["freezes"] += 1
        steps = [[make_storable(step.name, 200), step.milliseconds] for step in froze.steps[:MOST_STEPS]]
        self._freezes.append(
            RunFreeze(
                run=self._run,
                at=now,
                what=make_storable(froze.what, 200),
                milliseconds=froze.milliseconds,
                limit_ms=froze.limit_milliseconds,
                is_stop=froze.is_stop,
                steps=steps,
            )
        )

    def impact(self, impact: events.Impact, now: datetime) -> None:
        if not self._thinning.is_due:
            return
        self._thinning.note()
        self._impacts.append(
            RunImpact(
                run=self._run,
                at=now,
                cpu=impact.cpu,
                cpu_pressure=impact.cpu_pressure,
                io_pressure=impact.io_pressure,
                memory_pressure=impact.memory_pressure,
                disk_busy=impact.disk_busy,
                disk_wait_ms=impact.disk_wait_ms,
                network_bytes_s=impact.network_bytes_s,
            )
        )

    def pause(self, throttled: events.Throttled, now: datetime) -> None:
        if self._counts["pauses"] >= MOST_PAUSES:
            return
        self._counts["pauses"] += 1
        reason = make_storable(throttled.reason, 16)
        self._pauses.append(RunPause(run=self._run, at=now, seconds=throttled.seconds, reason=reason))

    def figure(self, felt: events.Felt) -> None:
        name, subject = make_storable(felt.name, 32), make_storable(felt.subject, 200)
        self._figures[subject, name] = RunFigure(
            run=self._run, subject=subject, name=name, before=felt.before, mean=felt.mean, worst=felt.worst
        )

    def take(self) -> list[Any]:
        """Return what waits, and forget it. Give it to `keep` when it could not be stored."""
        rows = [*self._freezes, *self._impacts, *self._pauses, *self._figures.values()]
        self._freezes, self._impacts, self._pauses, self._figures = [], [], [], {}
        return rows

    def keep(self, rows: list[Any]) -> None:
        """Take back what could not be stored, before what came since."""
        self._freezes = [row for row in rows if isinstance(row, RunFreeze)] + self._freezes
        self._impacts = [row for row in rows if isinstance(row, RunImpact)] + self._impacts
        self._pauses = [row for row in rows if isinstance(row, RunPause)] + self._pauses
        old = {(row.subject, row.name): row for row in rows if isinstance(row, RunFigure)}
        self._figures = old | self._figures

    def store(self, rows: list[Any]) -> None:
        """Store rows that were taken, inside of the caller's transaction."""
        RunFreeze.objects.bulk_create(row for row in rows if isinstance(row, RunFreeze))
        RunPause.objects.bulk_create(row for row in rows if isinstance(row, RunPause))
        RunFigure.objects.bulk_create(
            [row for row in rows if isinstance(row, RunFigure)],
            update_conflicts=True,
            unique_fields=["run", "subject", "name"],
            update_fields=["before", "mean", "worst"],
        )
        impacts = [row for row in rows if isinstance(row, RunImpact)]
        RunImpact.objects.bulk_create(impacts)
        self._thinning.stored(len(impacts))
