"""What will happen if a policy is saved as it is typed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backupsite.console.policy_outcome import Outcome, Target, advise, expect, find_group_problem, merge
from backupsite.console.policy_restores import Restored
from backupsite.policies.blocked import Blocked
from backupsite.policies.models import Source
from backupsite.policies.naming import name_source
from backupsite.policies.planning import Planner
from backupsite.policies.schedule import Schedule
from backupsite.policies.upcoming import Upcoming, list_upcoming
from backupsite.policies.windows import COLD, Window, is_taken_hot, lacks_window, needs_window, own_window
from backupsite.policies.writing import key_of

# What a run takes as long as nobody measured one of this policy.
ASSUMED_DURATION = timedelta(minutes=10)
SHOWN_TIMES = 5


@dataclass(frozen=True)
class Pace:
    """A schedule in words, its next times, and which target it can keep. `achievable` None: by hand only."""

    sentence: str
    times: Sequence[Upcoming]
    spread: timedelta
    rpo: timedelta | None
    gap: timedelta | None
    achievable: timedelta | None
    blocked: Sequence[str] = ()

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

    @property
    def times_a_day(self) -> int:
        return timedelta(days=1) // self.gap if self.gap else 0


def make_pace(
    planner: Planner | None, rpo: timedelta | None, duration: timedelta, now: datetime
) -> Pace | None:
    """Given when runs start as typed so far, return its pace; None when it is not known yet."""
    if planner is None:
        return None
    try:
        return Pace(
            planner.schedule.sentence(),
            list_upcoming(planner, now, SHOWN_TIMES),
            planner.schedule.spread,
            rpo,
            planner.longest_gap(now),
            planner.achievable_rpo(now, duration),
            planner.blocked.sentences(),
        )
    except ValueError:
        # Half typed; the field says so when it is saved.
        return None


@dataclass(frozen=True)
class SourcePreview:
    """What happens to the source of one row. `advice` is what is proposed, with whether that is chosen."""

    number: int
    name: str = ""
    outcomes: Sequence[Outcome] = ()
    advice: Sequence[tuple[str, bool]] = ()


@dataclass(frozen=True)
class Preview:
    """`own` is the policy's schedule, `own_takes` what it starts (None: nothing), `window` the cold window.
    `seen` devices were looked at of all `device_count`."""

    device_count: int
    rows: Sequence[SourcePreview]
    is_enabled: bool
    own: Pace | None = None
    own_takes: Window | None = None
    window: Pace | None = None
    lacks_window: bool = False
    hot_names: Sequence[str] = ()
    cold_names: Sequence[str] = ()
    out_names: Sequence[str] = ()
    log_names: Sequence[str] = ()
    stops: Sequence[str] = ()
    group_problems: Sequence[str] = ()
    seen: Sequence[str] = ()
    duration: timedelta = ASSUMED_DURATION
    is_measured: bool = False
    rto: timedelta | None = None
    restored: Restored | None = None

    @property
    def is_restored_late(self) -> bool:
        """The target of a restore was missed when it was last measured."""
        return self.rto is not None and self.restored is not None and self.restored.took > self.rto

    @property
    def own_names(self) -> Sequence[str]:
        """What the policy's own schedule copies."""
        return self.cold_names if self.own_takes == COLD else self.hot_names

    @property
    def is_own_idle(self) -> bool:
        """The policy's own schedule starts nothing: all is left out, or cold in a window."""
        return self.own_takes is None and bool(self.cold_names or self.out_names)

    @property
    def stops_often(self) -> int:
        """How many times a day the policy's own schedule stops something; 0 when that is not too often."""
        is_often = self.own is not None and self.own_takes == COLD and self.own.times_a_day > 1
        return self.own.times_a_day if self.own is not None and is_often else 0


@dataclass(frozen=True)
class Typed:
    """A policy's form as it is typed so far. `drafts` are the rows by their number; None: not right yet."""

    device_count: int
    is_enabled: bool
    row_count: int
    drafts: dict[int, dict[str, object]]
    schedule: Schedule | None = None
    rpo: timedelta | None = None
    has_window: bool = False
    window: Schedule | None = None
    window_rpo: timedelta | None = None
    blocked: Blocked = Blocked((), "UTC")  # noqa: RUF009 - frozen, shared safely
    usual_duration: timedelta | None = None
    rto: timedelta | None = None
    restored: Restored | None = None
    targets: Sequence[Target] = field(default=())


def make_preview(typed: Typed, now: datetime) -> Preview:
    """Given what is typed so far, return what will happen."""
    sources = {number: Source(**draft) for number, draft in typed.drafts.items()}
    names = {number: name_source(key_of(draft)) for number, draft in typed.drafts.items()}
    duration = typed.usual_duration if typed.usual_duration is not None else ASSUMED_DURATION
    rows = [
        _preview_source(number, names[number], sources[number], typed.targets)
        if number in sources
        else SourcePreview(number)
        for number in range(typed.row_count)
    ]
    listed = list(sources.values())
    stops = [outcome.stops for row in rows for outcome in row.outcomes if outcome.stops]
    takes = own_window(listed, has_window=typed.has_window)
    own, window = _plan(typed, typed.schedule, takes), _plan(typed, typed.window, COLD)
    problems = [find_group_problem(listed, target) for target in typed.targets]
    return Preview(
        device_count=typed.device_count,
        rows=rows,
        is_enabled=typed.is_enabled,
        own=make_pace(own, typed.rpo, duration, now),
        own_takes=takes,
        window=make_pace(window, typed.window_rpo, duration, now) if typed.has_window else None,
        lacks_window=not typed.has_window and lacks_window(listed),
        hot_names=[names[number] for number, source in sources.items() if is_taken_hot(source)],
        cold_names=[
            names[n] for n, source in sources.items() if needs_window(source) and source.mode != Source.HOT
        ],
        out_names=[names[number] for number, source in sources.items() if source.mode == Source.OUT],
        log_names=[names[number] for number, source in sources.items() if source.keeps_log],
        stops=list(dict.fromkeys(stops)),
        group_problems=[problem for problem in problems if problem],
        seen=[target.name for target in typed.targets],
        duration=duration,
        is_measured=typed.usual_duration is not None,
        rto=typed.rto,
        restored=typed.restored,
    )


def _plan(typed: Typed, schedule: Schedule | None, takes: Window | None) -> Planner | None:
    return Planner(schedule, typed.blocked, takes == COLD) if schedule is not None else None


def _preview_source(number: int, name: str, source: Source, targets: Sequence[Target]) -> SourcePreview:
    outcomes = merge((target.name, outcome) for target in targets for outcome in expect(source, target))
    found = [each for target in targets if (each := advise(source, target)) is not None]
    advice = [(each.sentence, each.mode == source.mode) for each in dict.fromkeys(found)]
    return SourcePreview(number, name, outcomes, advice if source.mode != Source.OUT else ())
