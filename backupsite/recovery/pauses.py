"""What a pause excuses: a target that is missed because no schedule starts a run.

It excuses neither a source without any restore point nor a target that was missed before it began, and it
always ends: then the device stands as old as its restore points are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backupsite.policies.pausing import list_active


@dataclass(frozen=True, slots=True)
class Hold:
    """Since when, and until when, no schedule starts a run."""

    since: datetime
    until: datetime

    def excuses(self, missed_at: datetime | None) -> bool:
        """Given when a target is missed, None without a restore point, return whether that is excused."""
        return missed_at is not None and missed_at >= self.since


@dataclass(frozen=True, slots=True)
class Holds:
    """The pauses that last, by whom they hold: (device, None), (None, policy), or (None, None) for all."""

    lasting: dict[tuple[int | None, int | None], list[Hold]]

    def find_end(self, *, device: int, policy: int, missed_at: datetime | None) -> datetime | None:
        """Given when the target of a source is missed, return the end of the last pause that excuses it, None
        when no pause does."""
        of_each = ((device, None), (None, policy), (None, None))
        holds = [hold for of in of_each for hold in self.lasting.get(of, ())]
        return max((hold.until for hold in holds if hold.excuses(missed_at)), default=None)


def read_holds(now: datetime) -> Holds:
    """Given the server's time, return the pauses that last. Runs one query."""
    lasting: dict[tuple[int | None, int | None], list[Hold]] = {}
    rows = list_active(now).order_by().values_list("device_id", "policy_id", "made_at", "until")
    for device, policy, since, until in rows:
        lasting.setdefault((device, policy), []).append(Hold(since, until))
    return Holds(lasting)
