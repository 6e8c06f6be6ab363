"""The clock guard: a clock that jumps makes old restore points out of new ones, so nothing is removed then.

The console's clock is compared with how long its machine has been up, from a mark that is never renewed while
the machine is up: many small steps add up. After a restart it is compared with the last time it was seen.
Whoever removes asks `is_trusted`, which any machine can answer: the tick has seen the clock just now.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from django.db import transaction

from backupsite.recovery.models import RetentionHold
from backupsite.recovery.retiring_holds import hold, open_holds
from backupsite.recovery.retiring_models import ClockMark

# A clock that is kept right by NTP drifts less than 0.5 s in 1,000 s.
TOLERANCE: Final = timedelta(minutes=5)
DRIFT: Final = 0.001
# A console may be off over a weekend; after that nobody can tell its absence from a clock set forward.
LONGEST_OFF: Final = timedelta(days=4)
# How long ago the tick may have seen the clock.
SEEN_WITHIN: Final = timedelta(minutes=15)
_SEEN_EVERY: Final = timedelta(minutes=1)
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clock says, and for how long which start of the machine has been up."""

    at: datetime
    boot_id: str
    up_s: float


def read_clock(now: datetime) -> Reading:
    """Given the server's time, return it with the time since this machine started, sleep included."""
    return Reading(now, _BOOT_ID.read_text().strip(), time.clock_gettime(time.CLOCK_BOOTTIME))


def find_jump(mark: ClockMark, reading: Reading) -> str:
    """Given the mark and what the clock says now, return one sentence when it jumped, "" when not. Pure."""
    if mark.boot_id != reading.boot_id:
        return _find_jump_while_off(reading.at - mark.seen_at)
    up = timedelta(seconds=reading.up_s - mark.began_s)
    ahead = (reading.at - mark.began_at) - up
    if abs(ahead) <= TOLERANCE + up * DRIFT:
        return ""
    way = "forward" if ahead > timedelta(0) else "back"
    return f"The clock of the console was set {way} by {_words(abs(ahead))}."


def _find_jump_while_off(passed: timedelta) -> str:
    if passed < -TOLERANCE:
        return f"The clock of the console is {_words(-passed)} behind what it was before its last start."
    if passed > LONGEST_OFF:
        return f"The console was off for {_words(passed)}, or its clock was set forward."
    return ""


def _words(span: timedelta) -> str:
    minutes = round(span / timedelta(minutes=1))
    if minutes >= 2 * 1440:
        return f"{minutes // 1440:,} days"
    return f"{minutes // 60} hours" if minutes >= 120 else f"{minutes} minutes"


def look(now: datetime) -> None:
    """A step of the tick: see the clock, and hold everything when it jumped."""
    watch(read_clock(now))


@transaction.atomic
def watch(reading: Reading) -> None:
    """Given what the clock says, note it; make a hold of the fleet when it jumped. Runs at most five queries.

    After a hold was made the mark begins anew: lifting it means that the clock is right now."""
    mark = ClockMark.objects.first()
    said = find_jump(mark, reading) if mark is not None else ""
    if said:
        hold(None, RetentionHold.CLOCK, said, reading.at)
    if mark is None or said or mark.boot_id != reading.boot_id:
        _begin(reading)
    elif abs(reading.at - mark.seen_at) >= _SEEN_EVERY:
        ClockMark.objects.filter(pk=mark.pk).update(seen_at=reading.at)


def _begin(reading: Reading) -> None:
    values = {
        "boot_id": reading.boot_id, "began_at": reading.at, "began_s": reading.up_s, "seen_at": reading.at
    }  # fmt: skip
    ClockMark.objects.update_or_create(pk=1, defaults=values)


def is_trusted(now: datetime) -> bool:
    """Given the time of whoever wants to remove, return whether it is right: the tick has seen it just now,
    and nothing holds the fleet because of it. Runs two queries."""
    seen = ClockMark.objects.values_list("seen_at", flat=True).first()
    if seen is None or not -TOLERANCE <= now - seen <= SEEN_WITHIN:
        return False
    return not open_holds(None).filter(cause=RetentionHold.CLOCK).exists()
