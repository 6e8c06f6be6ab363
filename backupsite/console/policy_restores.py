"""How long bringing back the sources of a policy took when it was last measured: for its target (RTO)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from backupsite.policies.models import Policy
from backupsite.policies.naming import name_source
from backupsite.recovery.drill_models import Drill

# Of each source the newest is taken; more drills than these are not read.
MOST_DRILLS = 200


@dataclass(frozen=True)
class Restored:
    """The longest of the newest drills of each source of a policy."""

    source: str
    took: timedelta
    at: datetime


def read_restored(policy: Policy | None) -> Restored | None:
    """Given the policy that is edited, return what its drills measured; None when none has passed yet.

    Runs one query."""
    if policy is None:
        return None
    drills = Drill.objects.whole().filter(policy=policy, result=Drill.PASSED).order_by("-at")[:MOST_DRILLS]
    newest: dict[str, Drill] = {}
    for drill in drills:
        newest.setdefault(drill.source, drill)
    if not newest:
        return None
    slowest = max(newest.values(), key=lambda drill: drill.total_s)
    return Restored(name_source(slowest.source), timedelta(seconds=slowest.total_s), slowest.at)
