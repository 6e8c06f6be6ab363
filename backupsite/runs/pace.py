"""How fast a run moves: its throughput picture, its pace now, and when it will be through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from django.utils.safestring import SafeString

from agents.events import Phase
from backupsite.runs.models import Run, RunFreeze, RunPause, RunPhase, RunSample
from backupsite.runs.states import State
from backupsite.web.charts import Sample, Span, draw_throughput

# Long enough that one slow second does not move the estimate, short enough to follow a change.
WINDOW = timedelta(seconds=20)
# A pace of less time than this says nothing yet.
SHORTEST = timedelta(seconds=3)
# More are not told apart on one picture.
MOST_PAUSES = 60


@dataclass(frozen=True)
class Pace:
    """`bytes_per_s` None: not known. `left` None: the total or the pace is not known."""

    bytes_per_s: float | None
    left: timedelta | None


def make_pace(run: Run, samples: Sequence[RunSample], phases: Sequence[RunPhase], now: datetime) -> Pace:
    """Given a run with its samples and phases in order, return its pace: now while it works, the mean of its
    transfer when it has ended. Pure."""
    if State(run.state).is_final:
        return Pace(_mean(run, phases), None)
    recent = [sample for sample in samples if now - sample.at <= WINDOW]
    rate = _rate(recent, SHORTEST)
    if rate is None or rate <= 0 or run.bytes_total is None:
        return Pace(rate, None)
    return Pace(rate, timedelta(seconds=max(0, run.bytes_total - run.bytes_done) / rate))


def _rate(samples: Sequence[RunSample], shortest: timedelta) -> float | None:
    if len(samples) < 2:
        return None
    first, last = samples[0], samples[-1]
    lasted = last.at - first.at
    if lasted <= shortest:
        return None
    return max(0, last.bytes_done - first.bytes_done) / lasted.total_seconds()


def _mean(run: Run, phases: Sequence[RunPhase]) -> float | None:
    took = [
        phase.ended_at - phase.started_at
        for phase in phases
        if phase.name == Phase.TRANSFER and phase.ended_at is not None
    ]
    lasted = sum(took, timedelta(0)).total_seconds()
    return run.bytes_done / lasted if lasted > 0 else None


def draw_pace(
    run: Run, samples: Sequence[RunSample], freezes: Sequence[RunFreeze], pauses: Sequence[RunPause]
) -> SafeString | None:
    """Given a run with what was stored of it, return its throughput picture. None when nothing moved."""
    if run.started_at is None or len(samples) < 2:
        return None
    start = run.started_at
    drawn = [
        Sample(
            (later.at - start).total_seconds(),
            max(0, later.bytes_done - earlier.bytes_done) / (later.at - earlier.at).total_seconds(),
        )
        for earlier, later in pairwise(samples)
        if later.at > earlier.at
    ]
    spans = [_span(freeze.at, freeze.milliseconds / 1000, start) for freeze in freezes if not freeze.is_stop]
    longest = sorted(pauses, key=lambda pause: -pause.seconds)[:MOST_PAUSES]
    spans += [_span(pause.at, pause.seconds, start, is_pause=True) for pause in longest]
    return draw_throughput("throughput", drawn, spans) if drawn else None


def _span(ended_at: datetime, seconds: float, start: datetime, *, is_pause: bool = False) -> Span:
    """What is stored is when it was told: at its end."""
    end = max(0.0, (ended_at - start).total_seconds())
    return Span(max(0.0, end - seconds), end, is_pause)
