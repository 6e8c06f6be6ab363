"""How runs look: the words, tone and icon of their states, kinds and titles."""

from __future__ import annotations

from dataclasses import dataclass

from backupsite.runs.models import Run
from backupsite.runs.states import State
from backupsite.web.status import Status, Tone
from backupsite.web.visible import make_visible

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


@dataclass(frozen=True)
class KindWords:
    """How a kind of run is said: while it works, and when it is over. The device's name follows."""

    icon: str
    working: str
    over: str


KINDS: dict[str, KindWords] = {
    Run.BACKUP: KindWords("upload", "Backing up", "Backup of"),
    Run.RESTORE: KindWords("restore", "Restoring to", "Restore to"),
    Run.COMEBACK: KindWords("repository", "Restoring an application of", "Restore of an application of"),
    Run.FORECAST: KindWords("search", "Looking what a restore would do on", "What a restore would do on"),
    Run.DRILL: KindWords("drill", "Drilling", "Drill of"),
    Run.SAMPLE: KindWords("search", "Sampling a restore point of", "Sample of a restore point of"),
    Run.PROBE: KindWords("plug", "Checking", "Check of"),
    Run.SCAN: KindWords("fingerprint", "Fetching the host keys of", "Host keys of"),
    Run.BROWSE: KindWords("folder-open", "Looking into a restore point of", "Look into a restore point of"),
    Run.DOWNLOAD: KindWords("download", "Preparing a download from", "Download from"),
    Run.LOG: KindWords("repository", "Storing the log of a database of", "Log of a database of"),
    Run.CHECK: KindWords("verify", "Checking the repository of", "Check of the repository of"),
    Run.PRUNE: KindWords("trash", "Removing old data of", "Removal of old data of"),
    Run.COPY: KindWords("copy", "Making the second copy of", "Second copy of"),
    Run.ADOPT: KindWords("repository", "Adopting the repository of", "Adoption of the repository of"),
}


def run_status(run: Run) -> Status:
    """Given a run, return how its state looks. A running one that was told to stop says so."""
    state = State(run.state)
    tone, icon = LOOKS[state]
    is_stopping = state == State.RUNNING and run.cancel_requested_at is not None
    return Status("Cancelling" if is_stopping else state.label, tone, icon)


def kind_icon(run: Run) -> str:
    """Given a run, return the icon of its kind."""
    return KINDS[run.kind].icon


def run_title(run: Run) -> str:
    """Given a run, return its page's heading ("Backing up db-01"), ready to be shown."""
    words = KINDS[run.kind]
    is_over = State(run.state).is_final or run.state == State.QUEUED
    return f"{words.over if is_over else words.working} {make_visible(run.device.name)}"


def percent_done(run: Run) -> int | None:
    """Given a run, return how far it is in percent. None while its total is not known.

    Never 100 before it has ended: verifying comes after the last byte."""
    if run.bytes_total is None or run.bytes_total <= 0:
        return None
    return min(99, run.bytes_done * 100 // run.bytes_total)
