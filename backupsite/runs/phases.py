"""The phases of a run, ready to be drawn by parts/phases.html."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agents.events import Phase
from backupsite.runs.models import Run, RunPhase
from backupsite.runs.states import State
from backupsite.web.formatting import format_duration
from backupsite.web.status import Status

WORDS = {
    Phase.CONNECT: "Connect",
    Phase.CHECK: "Pre-checks",
    Phase.FREEZE: "Freeze",
    Phase.SNAPSHOT: "Snapshot",
    Phase.TRANSFER: "Transfer",
    Phase.SWAP: "Swap",
    Phase.VERIFY: "Verify",
    Phase.CLEAN_UP: "Clean up",
}
# What a kind goes through when nothing goes wrong. Phases that were not foreseen are shown where they came.
FORESEEN: dict[str, tuple[Phase, ...]] = {
    Run.BACKUP: (Phase.CONNECT, Phase.CHECK, Phase.SNAPSHOT, Phase.TRANSFER, Phase.VERIFY, Phase.CLEAN_UP),
    Run.RESTORE: (Phase.CONNECT, Phase.CHECK, Phase.TRANSFER, Phase.CLEAN_UP),
    Run.COMEBACK: (
        Phase.CONNECT,
        Phase.CHECK,
        Phase.TRANSFER,
        Phase.SWAP,
        Phase.VERIFY,
        Phase.CLEAN_UP,
    ),
    Run.FORECAST: (Phase.CONNECT, Phase.CHECK),
    Run.DRILL: (Phase.CONNECT, Phase.CHECK, Phase.TRANSFER, Phase.VERIFY, Phase.CLEAN_UP),
    Run.SAMPLE: (Phase.CHECK,),
    Run.PROBE: (Phase.CONNECT, Phase.CHECK),
    Run.SCAN: (Phase.CONNECT,),
    Run.LOG: (Phase.TRANSFER,),
    Run.CHECK: (Phase.CHECK, Phase.VERIFY),
    Run.PRUNE: (Phase.CHECK, Phase.CLEAN_UP, Phase.VERIFY),
    Run.COPY: (Phase.CHECK, Phase.TRANSFER),
    Run.ADOPT: (Phase.CHECK,),
}


@dataclass(frozen=True)
class PhaseStep:
    """One step of the strip."""

    status: Status
    note: str


def make_phases(run: Run, rows: Sequence[RunPhase], now: datetime) -> list[PhaseStep]:
    """Given a run and its stored phases in order, return the strip: what was done, what is done now, and what
    is still to come while the run works. Pure."""
    done = [_make_step(run, row, now) for row in rows]
    if State(run.state).is_final:
        return done
    seen = {row.name for row in rows}
    return done + [
        PhaseStep(Status(WORDS[name], "off", "off"), "") for name in _still_to_come(run.kind, seen)
    ]


def _still_to_come(kind: str, seen: set[str]) -> list[Phase]:
    order = list(Phase)
    reached = max((order.index(Phase(name)) for name in seen if name in order), default=-1)
    return [phase for phase in FORESEEN.get(kind, ()) if order.index(phase) > reached]


def _make_step(run: Run, row: RunPhase, now: datetime) -> PhaseStep:
    words = WORDS.get(Phase(row.name)) if row.name in list(Phase) else row.name
    lasted = format_duration((row.ended_at or now) - row.started_at)
    if row.ended_at is None and run.state == State.RUNNING:
        return PhaseStep(Status(words or row.name, "running", "spinner"), lasted)
    if row.ended_at is None or _was_cut(run, row):
        return PhaseStep(Status(words or row.name, "bad", "failed"), f"ended after {lasted}")
    is_freeze = row.name == Phase.FREEZE
    return PhaseStep(
        Status(words or row.name, "frost" if is_freeze else "good", "freeze" if is_freeze else "good"), lasted
    )


def _was_cut(run: Run, row: RunPhase) -> bool:
    """The run ended without success while this phase was the current one: closing a run closes its phase."""
    state = State(run.state)
    return state.is_final and not state.is_good and row.name == run.phase
