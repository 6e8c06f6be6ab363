"""What will happen if a policy is saved as it is typed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backupsite.policies.schedule import Schedule

# What a run takes as long as nobody measured one of this policy.
ASSUMED_DURATION = timedelta(minutes=10)
SHOWN_TIMES = 5


@dataclass(frozen=True)
class Preview:
    """`achievable` None: the schedule is not known yet, or runs start by hand only."""

    device_count: int
    paths: Sequence[str]
    is_enabled: bool
    sentence: str = ""
    times: Sequence[datetime] = ()
    spread: timedelta = timedelta(0)
    rpo: timedelta | None = None
    achievable: timedelta | None = None
    duration: timedelta = ASSUMED_DURATION
    is_measured: bool = False

    @property
    def target(self) -> timedelta | None:
        """The achievable target as a person would write it: rounded up, never down."""
        if self.achievable is None:
            return None
        step = timedelta(hours=1) if self.achievable > timedelta(days=1) else timedelta(minutes=5)
        return -(-self.achievable // step) * step

    @property
    def is_too_tight(self) -> bool:
        """True when the schedule cannot keep the target even if all goes well but for one retry."""
        return self.rpo is not None and self.achievable is not None and self.achievable > self.rpo


def make_preview(
    schedule: Schedule | None,
    rpo: timedelta | None,
    device_count: int,
    paths: Sequence[str],
    usual_duration: timedelta | None,
    now: datetime,
    *,
    is_enabled: bool,
) -> Preview:
    """Given what is typed so far (None for what is not right yet), return what will happen."""
    if schedule is None:
        return Preview(device_count, paths, is_enabled, rpo=rpo)
    duration = usual_duration if usual_duration is not None else ASSUMED_DURATION
    try:
        times = schedule.upcoming(now, SHOWN_TIMES)
        achievable = schedule.achievable_rpo(now, duration)
    except ValueError:
        # Half typed; the field says so when it is saved.
        return Preview(device_count, paths, is_enabled, rpo=rpo)
    return Preview(
        device_count,
        paths,
        is_enabled,
        schedule.sentence(),
        times,
        schedule.spread,
        rpo,
        achievable,
        duration,
        usual_duration is not None,
    )
