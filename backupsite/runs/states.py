"""The states of a run, their words and their tones: the one place."""

from __future__ import annotations

from django.db.models import TextChoices


class State(TextChoices):
    """QUEUED and RUNNING are the only states that change; each other one is final."""

    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    WARNINGS = "warnings", "Completed with warnings"
    FAILED = "failed", "Failed"
    ERRORED = "errored", "Stopped by a fault in Hotfleet"
    CANCELLED = "cancelled", "Cancelled"
    LOST = "lost", "Lost its worker"

    @property
    def is_final(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING)

    @property
    def is_good(self) -> bool:
        """True when the run left a usable result."""
        return self in (State.SUCCEEDED, State.WARNINGS)
