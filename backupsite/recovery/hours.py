"""The hours in which a backup may work, as its policy says them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from agents.resting import ANY_HOUR, Block, Hours
from backupsite.policies.blocked import Blocked
from backupsite.policies.models import Policy
from backupsite.policies.schedule import find_zone
from backupsite.runs.kinds import PutOff
from backupsite.runs.models import Run
from backupsite.runs.requests import SCHEDULE


@dataclass(frozen=True, slots=True)
class PolicyHours:
    """Implements `agents.resting.Hours`. Asks no database: threads may share it."""

    blocked: Blocked
    is_stop: bool

    def look(self) -> Block | None:
        now = timezone.now()
        free = self.blocked.free_after(now)
        if free is None or free == now:
            return None
        return Block(self.is_stop, _clock(now, self.blocked), _clock(free, self.blocked))


def hours_of(run: Run) -> Hours:
    """Given a run, return when it may work: at any hour when its policy lets it finish, or when a person
    asked for it. Runs a query. Raise PutOff when it would begin in blocked hours."""
    if run.policy is None or run.requested_by != SCHEDULE:
        return ANY_HOUR
    blocked = Blocked.of(run.policy)
    free = blocked.free_after(timezone.now())
    if free is not None and blocked.is_blocked(timezone.now()):
        raise PutOff(free, "blocked-hours", "these hours are blocked by its policy")
    if run.policy.when_blocked == Policy.FINISH:
        return ANY_HOUR
    return PolicyHours(blocked, run.policy.when_blocked == Policy.STOP)


def _clock(moment: datetime, blocked: Blocked) -> str:
    return f"{moment.astimezone(find_zone(blocked.time_zone)):%H:%M}"
