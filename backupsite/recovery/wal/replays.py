"""The log that a comeback replays, as its run was asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from agents.comeback import ComebackOutcome
from agents.errors import PlanRefused
from agents.wal.words import Base, Replay
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.wal.keeping import keep_batch, read_log
from backupsite.recovery.wal.reach import find_stream
from backupsite.runs.models import Run

# How a request says "as far as its log goes"; else it holds a moment in ISO 8601, or "" for none.
NEWEST = "newest"


def read_replay(run: Run, points: Sequence[RestorePoint]) -> Replay | None:
    """Given a run and the restore points that it begins from, return the log that it replays, None when it
    was not asked for any. Raise PlanRefused when nothing is known of that log any more."""
    word = run.request.get("moment", "")
    if not word:
        return None
    stream, backup = find_stream(points[0]), points[0].run
    if stream is None or backup is None or backup.started_at is None:
        raise PlanRefused("Nothing is known of its log any more.", remedy="Pick a restore point.")
    moment = None if word == NEWEST else datetime.fromisoformat(word)
    base = Base(str(points[0].pk), backup.started_at, points[0].made_at)
    return Replay(moment, base, replace(read_log(stream), host=run.device.slug))


def keep_tail(run: Run, points: Sequence[RestorePoint], outcome: ComebackOutcome) -> None:
    """Write down what of the log went into the repository for a comeback."""
    stream = find_stream(points[0])
    if outcome.tail is not None and stream is not None:
        keep_batch(stream, points[0].repository, outcome.tail)
