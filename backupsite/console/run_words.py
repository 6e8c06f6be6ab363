"""How runs look on the fleet page and on the pages of a device."""

from __future__ import annotations

from backupsite.runs.models import Run
from backupsite.runs.states import State
from backupsite.web.status import Status, Tone

LOOKS: dict[State, tuple[Tone, str]] = {
    State.QUEUED: ("neutral", "waiting"),
    State.RUNNING: ("running", "spinner"),
    State.SUCCEEDED: ("good", "good"),
    State.WARNINGS: ("warn", "warn"),
    State.FAILED: ("bad", "failed"),
    State.ERRORED: ("bad", "bad"),
    State.CANCELLED: ("off", "cancelled"),
    State.LOST: ("bad", "unplugged"),
}


def run_status(run: Run) -> Status:
    """Given a run, return how its state looks."""
    state = State(run.state)
    tone, icon = LOOKS[state]
    return Status(state.label, tone, icon)
