"""Which restore points stay, and why. Pure: no database, no clock.

A *copy* is what one run stored of one source: all its streams, or files. Of each hour, day, week, month and
year the newest good copy stays, for as many of them as the rules say; hours, days and so on without a good
copy do not count. So copies that are incomplete or damaged never push out a good one, however many there are.

Whatever the rules say, these stay: the newest good copy of all, everything younger than the minimum, and what
is pinned (protected, held, or needed by something else).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Self

from backupsite.policies.durations import show_duration

if TYPE_CHECKING:
    from backupsite.policies.models import Policy

MOST_OF_A_PERIOD = 10_000
LONGEST_MINIMUM = timedelta(days=36_500)
# What is removed rests so long at least: a mistake is seen the next day.
SHORTEST_REST = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rules:
    """How much stays. `youngest`: nothing younger goes. `oldest`: nothing older stays, but for the newest
    good one and what is pinned; None is for ever."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    youngest: timedelta = timedelta(0)
    oldest: timedelta | None = None

    @classmethod
    def of(cls, policy: Policy) -> Self:
        """Given a policy, saved or not, return its rules."""
        return cls(
            last=policy.keep_last,
            hourly=policy.keep_hourly,
            daily=policy.keep_daily,
            weekly=policy.keep_weekly,
            monthly=policy.keep_monthly,
            yearly=policy.keep_yearly,
            youngest=policy.keep_min,
            oldest=policy.keep_max,
        )

    @property
    def counts(self) -> tuple[int, ...]:
        return self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly

    def check(self) -> None:
        """Raise ValueError with one sentence for the form when these are no rules."""
        if any(not 0 <= count <= MOST_OF_A_PERIOD for count in self.counts):
            raise ValueError(f"Write numbers from 0 to {MOST_OF_A_PERIOD:,}.")
        if not timedelta(0) <= self.youngest <= LONGEST_MINIMUM:
            raise ValueError("The minimum age is at most 100 years.")
        if not any(self.counts) and not self.youngest:
            raise ValueError(
                "This keeps nothing but the newest restore point of each source. Keep at least one, for "
                "example the last 7 days."
            )
        if self.oldest is not None and self.oldest <= self.youngest:
            raise ValueError("The maximum age must be above the minimum age.")

    def sentence(self) -> str:
        """Return the rules in words, like "the last 4, 14 daily; nothing younger than 2 days goes"."""
        words = ("hourly", "daily", "weekly", "monthly", "yearly")
        parts = [f"the last {self.last:,}"] if self.last else []
        parts += [f"{n:,} {word}" for n, word in zip(self.counts[1:], words, strict=True) if n]
        said = [", ".join(parts) or "the newest"]
        if self.youngest:
            said.append(f"nothing younger than {show_duration(self.youngest)} goes")
        if self.oldest is not None:
            said.append(f"nothing older than {show_duration(self.oldest)} stays")
        return "; ".join(said)


@dataclass(frozen=True, slots=True)
class Copy:
    """What one run stored of one source. `key` is the caller's. `is_good`: complete, and not damaged.
    `pins` say why it stays whatever the rules are."""

    key: Hashable
    made_at: datetime
    is_good: bool = True
    pins: tuple[str, ...] = ()


@dataclass(slots=True)
class Fate:
    """A copy and why it stays; without a reason it may go."""

    copy: Copy
    reasons: list[str] = field(default_factory=list)

    @property
    def stays(self) -> bool:
        return bool(self.reasons)


# The name of a period, and what is the same for all moments of one. Weeks are those of ISO 8601. An hour is
# one of UTC: the hour that comes twice where clocks are set back is two.
Bucket = Callable[[datetime, tzinfo], Hashable]
PERIODS: tuple[tuple[str, Bucket], ...] = (
    ("hour", lambda at, zone: at.astimezone(UTC).strftime("%Y-%m-%d %H")),
    ("day", lambda at, zone: at.astimezone(zone).strftime("%Y-%m-%d")),
    ("week", lambda at, zone: at.astimezone(zone).strftime("%G-W%V")),
    ("month", lambda at, zone: at.astimezone(zone).strftime("%Y-%m")),
    ("year", lambda at, zone: at.astimezone(zone).strftime("%Y")),
)


def quarter_of(at: datetime, zone: tzinfo) -> Hashable:
    """Return the quarter of an hour of a moment; no zone that is in use moves it."""
    return int(at.timestamp() // 900)


def judge(copies: Iterable[Copy], rules: Rules, now: datetime, zone: tzinfo) -> list[Fate]:
    """Given all copies of one source, return the fate of each, the newest first.

    `now` is the server's clock. A copy of the future (the clock was set back) stays."""
    fates = [Fate(copy) for copy in sorted(copies, key=lambda copy: copy.made_at, reverse=True)]
    for fate in fates:
        fate.reasons += fate.copy.pins
        if fate.copy.made_at > now - rules.youngest:
            fate.reasons.append("younger than the minimum")
    good = [fate for fate in fates if fate.copy.is_good]
    for fate in (good or fates)[:1]:
        fate.reasons.append("the newest good one" if good else "the newest there is")
    limit = now - rules.oldest if rules.oldest is not None else None
    in_age = [fate for fate in fates if limit is None or fate.copy.made_at > limit]
    _keep_last(in_age, rules.last)
    for (name, bucket), count in zip(PERIODS, rules.counts[1:], strict=True):
        _keep_periods(in_age, count, name, bucket, zone)
    return fates


def _keep_last(fates: Sequence[Fate], count: int) -> None:
    good = [fate for fate in fates if fate.copy.is_good][:count]
    for number, fate in enumerate(good, 1):
        fate.reasons.append(f"one of the last {count:,}" if number > 1 else "the last one")
    listed = {fate.copy.key for fate in good}
    for fate in _newest_of_quarters(fates, count):
        if fate.copy.key not in listed:
            fate.reasons.append(f"among the last {count:,}, without those that others followed at once")
    if count:
        _keep_between(fates, good, count)


def _newest_of_quarters(fates: Iterable[Fate], count: int) -> list[Fate]:
    """A flood of copies within minutes counts as one: it pushes nothing out of the last ones."""
    newest: dict[Hashable, Fate] = {}
    for fate in fates:
        if fate.copy.is_good:
            newest.setdefault(quarter_of(fate.copy.made_at, UTC), fate)
    return list(newest.values())[:count]


def _keep_between(fates: Sequence[Fate], good: Sequence[Fate], count: int) -> None:
    """What is not good but as young as the good ones that stay shows what went wrong; there is no more of it
    than of those."""
    oldest = good[-1].copy.made_at if good else None
    others = [
        fate for fate in fates if not fate.copy.is_good and (oldest is None or fate.copy.made_at > oldest)
    ]
    for fate in others[:count]:
        fate.reasons.append("not good, among the last ones")


def _keep_periods(fates: Sequence[Fate], count: int, name: str, bucket: Bucket, zone: tzinfo) -> None:
    seen: set[Hashable] = set()
    for fate in fates:
        if not fate.copy.is_good:
            continue
        period = bucket(fate.copy.made_at, zone)
        if period in seen:
            continue
        if len(seen) >= count:
            return
        seen.add(period)
        fate.reasons.append(f"the newest of the {name} {period}")


def find_departures(
    copies: Sequence[Copy], rules: Rules, now: datetime, zone: tzinfo, *, days: int
) -> Iterator[tuple[datetime, Copy]]:
    """Yield what goes when, day by day, if nothing is added any more: what a person who looks at a history
    wants to know. Each is given at the first day on which it may go."""
    left = list(copies)
    for day in _days_of_change(left, rules, now, days):
        at = now + timedelta(days=day)
        fates = judge(left, rules, at, zone)
        for fate in fates:
            if not fate.stays:
                yield at, fate.copy
        left = [fate.copy for fate in fates if fate.stays]


def _days_of_change(copies: Iterable[Copy], rules: Rules, now: datetime, days: int) -> list[int]:
    """Return the days on which a copy reaches an age that rules name, and today: on others nothing goes."""
    ages = [age for age in (rules.youngest, rules.oldest) if age is not None]
    ends = (copy.made_at + age - now for copy in copies for age in ages)
    return sorted({0, *(-(-end // timedelta(days=1)) for end in ends)} & set(range(days + 1)))


def foresee(rules: Rules, times: Iterable[datetime], zone: tzinfo) -> list[tuple[datetime, list[str]]]:
    """Given the times at which a policy will have made copies, oldest first, return those that then exist,
    and why, newest first: each run removes what its moment allows."""
    kept: list[Copy] = []
    now = None
    for number, at in enumerate(times):
        now = at
        fates = judge([*kept, Copy(number, at)], rules, at, zone)
        kept = [fate.copy for fate in fates if fate.stays]
    if now is None:
        return []
    return [(fate.copy.made_at, fate.reasons) for fate in judge(kept, rules, now, zone)]
