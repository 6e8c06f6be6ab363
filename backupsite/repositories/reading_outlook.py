"""Whether every byte of a storage is read in time within its limits, in words. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from backupsite.repositories.reading import Limits
from backupsite.web.formatting import format_bytes

# What a check promises (agents.maintaining.reading.DAYS), and its rate where nobody says one.
TURN_DAYS = 30
USUAL_RATE_BYTES_S = 100_000_000


@dataclass(frozen=True)
class Outlook:
    """`turn_days` is how long it takes to read every byte once, `why` which limit makes it longer than
    promised; "" when none does."""

    held_bytes: int
    turn_days: int
    why: str

    @property
    def is_kept(self) -> bool:
        return not self.why

    @property
    def cost(self) -> str:
        return (
            f"To read every byte once within {TURN_DAYS} days takes {format_bytes(self.held_bytes)} a month; "
            "second copies and drills come on top, and indexes are read at each check."
        )

    @property
    def sentence(self) -> str:
        if self.is_kept:
            return f"The limits leave room for it: every byte is read within {TURN_DAYS} days."
        return (
            f"“Every byte within {TURN_DAYS} days” is not kept: {self.why} is too little for it. A turn "
            f"takes {self.turn_days:,} days at best, longer with copies: damage may stay unseen so long."
        )


def look_ahead(limits: Limits, held_bytes: int) -> Outlook:
    """Given the limits of a storage and what its repositories take, return what follows."""
    hours = open_hours(limits)
    rate = min(limits.rate_bytes_s or USUAL_RATE_BYTES_S, USUAL_RATE_BYTES_S)
    by_time = rate * hours.total_seconds()
    by_budget = math.inf if limits.budget_bytes is None else limits.budget_bytes / TURN_DAYS
    a_day = min(by_time, by_budget)
    days = max(math.ceil(held_bytes / a_day), 1)
    if days <= TURN_DAYS:
        return Outlook(held_bytes, TURN_DAYS, "")
    why = "the budget" if by_budget <= by_time else "what can be read in these hours at this rate"
    return Outlook(held_bytes, days, why)


def open_hours(limits: Limits) -> timedelta:
    """Return how long the storage may be read on each day."""
    if limits.begins is None or limits.ends is None:
        return timedelta(days=1)
    begins, ends = (timedelta(hours=at.hour, minutes=at.minute) for at in (limits.begins, limits.ends))
    return ends - begins + timedelta(days=0 if ends > begins else 1)
