"""The restore points of a device as the rules see them: copies in histories, and what pins them.

A copy is all points of one source that one run made. A history is what one policy made of one source, hot or
cold: another policy may have left files out, and a hot copy does not stand for a cold one. Copies of one run
that were held together stay or go together. What a restore saved before stays until it is too late to undo
it. What no policy made (it is gone, or the repository was adopted) stays until a person removes it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from backupsite.policies.models import Policy
from backupsite.policies.naming import name_source
from backupsite.policies.retention import Copy, Fate, Rules, judge
from backupsite.policies.retention_doubt import Looked, Measured, find_doubts
from backupsite.policies.schedule import find_zone
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.wal.reach import is_base
from backupsite.recovery.wal_models import WalStream
from backupsite.runs.models import Run

# As long can a restore be undone.
UNDO_FOR: Final = timedelta(days=30)

History = tuple[int | None, str, bool, bool]


@dataclass(frozen=True)
class Stored:
    """One copy: its restore points."""

    points: Sequence[RestorePoint]

    @property
    def first(self) -> RestorePoint:
        return self.points[0]

    @cached_property
    def key(self) -> Hashable:
        """Points of one source and one run are made at the same moment; the run's row may be gone."""
        return self.history, self.first.made_at

    @property
    def history(self) -> History:
        return history_of(self.first)

    @property
    def bundle(self) -> Hashable:
        """What stays or goes with it."""
        return (self.first.group, self.first.made_at, self.first.run_id) if self.first.group else self.key

    @property
    def is_sound(self) -> bool:
        """Whether it is whole, as far as anybody knows."""
        return all(
            point.is_complete and not point.damage and point.drill_state != RestorePoint.REFUTED
            for point in self.points
        )

    @property
    def measured(self) -> Measured:
        return Measured(
            self.key,
            self.first.made_at,
            sum(point.size_bytes for point in self.points),
            sum(point.file_count for point in self.points),
            sum(point.stored_bytes for point in self.points),
        )


@dataclass(frozen=True, slots=True)
class Judged:
    """A copy and why it stays; without a reason it may go. `doubt` says why it looks wrong."""

    stored: Stored
    reasons: tuple[str, ...]
    doubt: str = ""

    @property
    def stays(self) -> bool:
        return bool(self.reasons)


def history_of(point: RestorePoint) -> History:
    """Given a point that was read with its run, return its history."""
    is_saved = point.run is not None and point.run.kind == Run.RESTORE
    return point.policy_id, point.source, point.method.startswith("cold"), is_saved


def read_points(device_id: int) -> list[RestorePoint]:
    """Return the restore points of a device that nobody removed. Runs one query."""
    found = RestorePoint.objects.filter(device=device_id, resting_since=None)
    return list(found.select_related("run").defer("paths", "proof", "run__request", "run__error_detail"))


def gather(points: Iterable[RestorePoint]) -> list[Stored]:
    """Given restore points of one device, return them as copies. Pure."""
    sets: dict[Hashable, list[RestorePoint]] = defaultdict(list)
    for point in points:
        sets[history_of(point), point.made_at].append(point)
    return [Stored(each) for each in sets.values()]


def find_needed(device_id: int, stored: Collection[Stored]) -> dict[Hashable, str]:
    """Given the copies of a device, return those from which a followed log begins now, each with the reason.
    Runs one query."""
    sources = {stream.source for stream in WalStream.objects.filter(device=device_id, is_wanted=True)}
    needed: dict[str, Stored] = {}
    for copy in stored:
        source = copy.first.source
        if source not in sources or not copy.is_sound or not is_base(copy.first):
            continue
        if source not in needed or copy.first.made_at > needed[source].first.made_at:
            needed[source] = copy
    return {copy.key: f"the log of {name_source(source)} begins from it" for source, copy in needed.items()}


def judge_device(
    stored: Sequence[Stored],
    rules: dict[int, tuple[Rules, Policy]],
    now: datetime,
    *,
    needed: dict[Hashable, str],
    looked: Looked,
) -> list[Judged]:
    """Given all copies of a device, the rules of its policies, what is needed, and what a person looked at,
    return why each stays, the newest first. Pure."""
    histories: dict[History, list[Stored]] = defaultdict(list)
    for copy in stored:
        histories[copy.history].append(copy)
    by_key = {copy.key: copy for copy in stored}
    judged: list[Judged] = []
    for (policy, _, _, is_saved), copies in histories.items():
        # A small safety point is no collapse: it is as large as what a restore replaced.
        doubts = {} if is_saved else doubts_of(copies, looked)
        made = [_make(copy, doubts, needed, now) for copy in copies]
        if not is_saved:
            _pin_newest(made)
        fates = _judge(made, rules.get(policy or 0), now, is_saved=is_saved)
        judged += [
            Judged(by_key[fate.copy.key], tuple(fate.reasons), doubts.get(fate.copy.key, ""))
            for fate in fates
        ]
    return sorted(_together(judged), key=lambda each: each.stored.first.made_at, reverse=True)


def _pin_newest(copies: list[Copy]) -> None:
    """How a device stands is told by the newest, good or not: removing never makes that worse."""
    newest = max(range(len(copies)), key=lambda number: copies[number].made_at)
    copies[newest] = replace(copies[newest], pins=(*copies[newest].pins, "the newest of all"))


def doubts_of(copies: Iterable[Stored], looked: Looked) -> dict[Hashable, str]:
    """Given the copies of one history, return those that look wrong, with why. Pure."""
    return find_doubts((copy.measured for copy in copies if copy.is_sound), looked)


def _judge(
    copies: Sequence[Copy], found: tuple[Rules, Policy] | None, now: datetime, *, is_saved: bool
) -> list[Fate]:
    if is_saved:
        return [_judge_saved(copy, now) for copy in copies]
    if found is None:
        return [Fate(copy, [*copy.pins, "no policy says how long it stays"]) for copy in copies]
    rules, policy = found
    return judge(copies, rules, now, find_zone(policy.time_zone))


def _judge_saved(copy: Copy, now: datetime) -> Fate:
    reasons = list(copy.pins)
    if copy.made_at > now - UNDO_FOR:
        reasons.append("a restore can be undone with it")
    return Fate(copy, reasons)


def _make(copy: Stored, doubts: dict[Hashable, str], needed: dict[Hashable, str], now: datetime) -> Copy:
    pins = [pin for point in copy.points for pin in _pins_of(point, now)]
    if copy.key in needed:
        pins.append(needed[copy.key])
    is_future = copy.first.made_at > now
    if is_future:
        pins.append("by the clock it was not made yet")
    is_good = copy.is_sound and copy.key not in doubts and not is_future
    return Copy(copy.key, copy.first.made_at, is_good, tuple(dict.fromkeys(pins)))


def _pins_of(point: RestorePoint, now: datetime) -> Iterable[str]:
    if point.is_protected:
        yield f"protected by {point.protected_by}" if point.protected_by else "protected"
    if point.held_until is not None and point.held_until > now:
        yield f"held until {point.held_until:%Y-%m-%d}"


def _together(judged: Iterable[Judged]) -> list[Judged]:
    """What was held together stays together: when one of a bundle stays, all of it do."""
    listed = list(judged)
    staying: dict[Hashable, Stored] = {}
    for each in listed:
        if each.stays:
            staying.setdefault(each.stored.bundle, each.stored)
    return [_join(each, staying.get(each.stored.bundle)) for each in listed]


def _join(each: Judged, other: Stored | None) -> Judged:
    if each.stays or other is None:
        return each
    return replace(each, reasons=(f"held together with {name_source(other.first.source)}, which stays",))
