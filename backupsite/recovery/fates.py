"""What stays of a device's restore points, and why: the rules of policies over the catalogue.

Points of one run and source are one copy: all of its streams stay or go. Copies of one group of one run were
made at one moment, and are of use together: while one stays, all do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from uuid import UUID

from django.db.models import QuerySet

from backupsite.policies.models import Policy
from backupsite.policies.retention import Copy, Fate, Rules, judge
from backupsite.policies.schedule import find_zone
from backupsite.recovery.models import RestorePoint
from backupsite.runs.models import Run

# What a restore saved before it replaced it belongs to no policy.
SAFETY = Rules(youngest=timedelta(days=30))
FIELDS = (
    "pk", "policy_id", "source", "part", "group", "made_at", "run_id", "run__kind", "is_complete", "damage",
    "is_protected", "protected_by", "held_until",
)  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """One copy in the catalogue: its restore points, and what decides about it."""

    policy_id: int | None
    source: str
    group: str
    run_id: UUID | None
    points: tuple[UUID, ...]
    copy: Copy
    is_safety: bool


@dataclass
class Judged:
    """A copy and why it stays; `rules` None: nobody's rules are about it, so it stays."""

    stored: Stored
    reasons: list[str]

    @property
    def stays(self) -> bool:
        return bool(self.reasons)


def list_stored(points: QuerySet[RestorePoint], now: datetime) -> list[Stored]:
    """Given restore points, return the copies that they are, those that rest left out. Runs one query."""
    rows = points.filter(resting_since=None).order_by("made_at", "part").values(*FIELDS)
    sets: dict[tuple[object, ...], list[dict[str, object]]] = defaultdict(list)
    for row in rows:
        sets[row["policy_id"], row["source"], row["run_id"] or row["made_at"]].append(row)
    return [_join(each, now) for each in sets.values()]


def _join(rows: Sequence[Mapping[str, object]], now: datetime) -> Stored:
    first = rows[0]
    made_at = first["made_at"]
    if not isinstance(made_at, datetime):
        raise TypeError(f"{made_at!r} is no moment")
    points = tuple(row["pk"] for row in rows if isinstance(row["pk"], UUID))
    is_good = all(row["is_complete"] and not row["damage"] for row in rows)
    policy, run = first["policy_id"], first["run_id"]
    return Stored(
        policy_id=policy if isinstance(policy, int) else None,
        source=str(first["source"]),
        group=str(first["group"]),
        run_id=run if isinstance(run, UUID) else None,
        points=points,
        copy=Copy(points[0], made_at, is_good, tuple(_pins(rows, now))),
        is_safety=first["run__kind"] in (Run.RESTORE, Run.COMEBACK),
    )


def _pins(rows: Sequence[Mapping[str, object]], now: datetime) -> Iterable[str]:
    for row in rows:
        if row["is_protected"]:
            yield f"protected by {row['protected_by']}"
            return
    for row in rows:
        until = row["held_until"]
        if isinstance(until, datetime) and until > now:
            yield f"held until {until:%Y-%m-%d %H:%M} UTC"
            return


def judge_stored(
    stored: Collection[Stored], rules: Mapping[int, tuple[Rules, tzinfo]], now: datetime
) -> list[Judged]:
    """Given the copies of one device, and the rules of policies with their time zones, return the fate of
    each, the newest first. Pure."""
    by_source: dict[tuple[int | None, str], list[Stored]] = defaultdict(list)
    for each in stored:
        by_source[each.policy_id, each.source].append(each)
    by_key = {each.copy.key: each for each in stored}
    judged = []
    for (policy_id, _), copies in by_source.items():
        for fate in _judge_source(policy_id, copies, rules, now):
            judged.append(Judged(by_key[fate.copy.key], list(fate.reasons)))
    _join_groups(judged)
    return sorted(judged, key=lambda each: each.stored.copy.made_at, reverse=True)


def _judge_source(
    policy_id: int | None,
    copies: Sequence[Stored],
    rules: Mapping[int, tuple[Rules, tzinfo]],
    now: datetime,
) -> Iterable[Fate]:
    if policy_id is not None and policy_id in rules:
        own, zone = rules[policy_id]
        yield from judge([each.copy for each in copies], own, now, zone)
        return
    safety = [each.copy for each in copies if each.is_safety]
    yield from judge(safety, SAFETY, now, UTC)
    for each in copies:
        if not each.is_safety:
            yield Fate(each.copy, ["no policy is about it any more: only a person removes it"])


def _join_groups(judged: Sequence[Judged]) -> None:
    groups: dict[tuple[UUID, str], list[Judged]] = defaultdict(list)
    for each in judged:
        if each.stored.group and each.stored.run_id is not None:
            groups[each.stored.run_id, each.stored.group].append(each)
    for (_, name), members in groups.items():
        stays = next((each for each in members if each.stays), None)
        for each in members if stays is not None else ():
            if not each.stays:
                each.reasons.append(f"belongs with {stays.stored.source} ({name})")


def read_rules(policies: Iterable[Policy]) -> dict[int, tuple[Rules, tzinfo]]:
    """Given policies, return their rules and time zones."""
    return {policy.pk: (Rules.of(policy), find_zone(policy.time_zone)) for policy in policies}


def judge_device(device_id: int, now: datetime) -> list[Judged]:
    """Return the fate of each copy of a device. Runs two queries."""
    stored = list_stored(RestorePoint.objects.filter(device=device_id), now)
    wanted = {each.policy_id for each in stored if each.policy_id is not None}
    return judge_stored(stored, read_rules(Policy.objects.filter(pk__in=wanted)), now)
