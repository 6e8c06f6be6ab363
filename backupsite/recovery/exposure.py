"""How old the newest restore point of each required source is, against the target of its policy.

A required source is a source of an enabled policy on a device of that policy, unless it is left out or
optional. What is out of service requires nothing. Its newest restore point is one that the same policy made:
another policy may have left files out. One whose data is damaged, or that failed its drill, does not count.
The streams of one source count as one: they are of one run, and incomplete when one of them is. A device
stands as its worst source, and never well while discovery found data that nobody decided about
(`policies.found`).

A shared source belongs to a service that moves between the devices of its policy: the newest restore point of
it that any of them made, in service or not, counts for all.

What is copied hot has the policy's target, what is only copied cold, or may wait for the cold window, the
window's own. What is copied hot and cold is required twice: a hot copy does not stand for the cold one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any, NamedTuple

from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, When
from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.policies.effective import TARGET, read_target
from backupsite.policies.models import Override, PolicyDevice
from backupsite.policies.windows import MODE_BOTH, MODE_COLD, MODE_HOT, MODE_OUT, WAIT
from backupsite.recovery.models import Exposure, RestorePoint
from backupsite.recovery.pauses import Holds, read_holds
from backupsite.web.formatting import format_moment
from backupsite.web.status import Status

# From this share of the target on a source is close to its limit.
CLOSE = 0.8
# SQLite takes 32,766 parameters at most, so a whole fleet is asked for without listing it.
FEW = 1000


class Standing(IntEnum):
    """Against the recovery point objective, best first: the largest of several is the worst."""

    WITHIN = 0
    PARTIAL = 1
    PAUSED = 2
    CLOSE = 3
    UNDECIDED = 4
    UNPROTECTED = 5
    NEVER = 6
    OUTSIDE = 7

    @property
    def word(self) -> str:
        """How a URL says it: "?state=outside"."""
        return self.name.lower()

    @property
    def words(self) -> str:
        """The label inside of a sentence."""
        label = self.status.label
        return label[0].lower() + label[1:]

    @property
    def status(self) -> Status:
        return STATUSES[self]

    @property
    def meets_target(self) -> bool:
        return self in (Standing.WITHIN, Standing.PARTIAL, Standing.CLOSE)


# What makes a device one that misses its target.
MISSED = (Standing.OUTSIDE, Standing.NEVER)
STATUSES = {
    Standing.WITHIN: Status("Within RPO", "good", "good"),
    Standing.PARTIAL: Status("Within RPO, with warnings", "warn", "warn"),
    Standing.CLOSE: Status("Close to limit", "warn", "warn"),
    Standing.UNDECIDED: Status("Data undecided", "warn", "warn"),
    Standing.OUTSIDE: Status("Outside RPO", "bad", "bad"),
    Standing.NEVER: Status("No restore point yet", "bad", "bad"),
    Standing.UNPROTECTED: Status("Not protected", "off", "off"),
    Standing.PAUSED: Status("Paused", "off", "paused"),
}


@dataclass(frozen=True, slots=True)
class SourceExposure:
    """One required source of one device. `newest_at` None: there is no restore point of it. `is_cold`: cold
    copies alone count. `made_on` is the device with the newest restore point: of a shared source another one
    may be."""

    device_id: int
    policy_id: int
    key: str
    rpo: timedelta
    newest_at: datetime | None
    is_complete: bool
    standing: Standing
    is_cold: bool = False
    mode: str = MODE_HOT
    paused_until: datetime | None = None
    made_on: int | None = None

    @property
    def missed_at(self) -> datetime | None:
        return self.newest_at + self.rpo if self.newest_at is not None else None

    @property
    def status(self) -> Status:
        return _say_status(self.standing, self.paused_until)

    def left(self, now: datetime) -> timedelta:
        """Return the time until the target is missed; negative when it is. Without a point, minus the RPO."""
        return self.newest_at + self.rpo - now if self.newest_at is not None else -self.rpo


@dataclass(frozen=True, slots=True)
class DeviceExposure:
    """How a device stands. `worst` None: no source of it is required. `undecided` names what discovery found
    and nobody decided about, ready to be shown."""

    standing: Standing
    worst: SourceExposure | None = None
    source_count: int = 0
    undecided: str = ""
    paused_until: datetime | None = None

    @property
    def status(self) -> Status:
        return _say_status(self.standing, self.paused_until)


def _say_status(standing: Standing, paused_until: datetime | None) -> Status:
    """Return the status of a standing; that of a pause says when it ends, in the reader's time zone."""
    if standing is not Standing.PAUSED or paused_until is None:
        return standing.status
    words = f"Paused until {format_moment(timezone.localtime(paused_until))}"
    return replace(standing.status, label=words)


def judge(newest_at: datetime | None, is_complete: bool, rpo: timedelta, now: datetime) -> Standing:
    """Given the newest restore point of a source and its target, return how the source stands. Pure."""
    if newest_at is None:
        return Standing.NEVER
    age = now - newest_at
    if age > rpo:
        return Standing.OUTSIDE
    if age > rpo * CLOSE:
        return Standing.CLOSE
    return Standing.WITHIN if is_complete else Standing.PARTIAL


def judge_device(
    sources: Iterable[SourceExposure], now: datetime, *, is_paused: bool = False, undecided: str = ""
) -> DeviceExposure:
    """Given the required sources of a device and what nobody decided about, return how it stands: as its
    worst source, and never well with something undecided. Pure."""
    listed = list(sources)
    if not listed:
        return DeviceExposure(Standing.PAUSED if is_paused else Standing.UNPROTECTED, undecided=undecided)
    worst = max(listed, key=lambda source: (source.standing, -source.left(now)))
    standing = max(worst.standing, Standing.UNDECIDED) if undecided else worst.standing
    ends = [source.paused_until for source in listed if source.paused_until is not None]
    return DeviceExposure(standing, worst, len(listed), undecided, max(ends, default=None))


class Row(NamedTuple):
    """A source of a policy on a device, with its newest restore points, as the database says it."""

    device: int
    policy: int
    key: str
    mode: str
    fallback: str
    rpo: timedelta
    has_window: bool
    cold_rpo: timedelta
    newest_at: datetime | None
    newest_complete: bool | None
    cold_at: datetime | None
    cold_complete: bool | None
    own_rpo: Any
    is_shared: bool
    made_on: int | None = None
    cold_on: int | None = None


def list_sources(now: datetime, device_ids: Collection[int] | None = None) -> list[SourceExposure]:
    """Given the server's time, return every required source, of some devices or of all. Runs two queries, and
    a third one where a source is shared."""
    holds = read_holds(now)
    required = PolicyDevice.objects.filter(policy__sources__isnull=False, device__retired_at=None)
    if device_ids is not None:
        required = required.filter(device_id__in=device_ids)
    rows = _join_shared(_read_rows(required))
    return [_hold(source, holds) for row in rows for source in _judge_row(row, now)]


def _read_rows(assignments: QuerySet[PolicyDevice]) -> list[Row]:
    """Given assignments, joined to the sources of their policies, return each required source with the newest
    restore points of its own device: an index leads to them. Runs one query."""
    newest = RestorePoint.objects.filter(
        device_id=OuterRef("device_id"), policy_id=OuterRef("policy_id"), source=OuterRef("key"), damage="",
        resting_since=None,
    ).exclude(drill_state=RestorePoint.REFUTED).order_by("-made_at", "is_complete")  # fmt: skip
    cold = newest.filter(method__startswith="cold")
    own = Override.objects.filter(assignment=OuterRef("pk"), field=TARGET)
    columns = (
        assignments.filter(policy__is_enabled=True)
        .annotate(
            key=F("policy__sources__key"),
            mode=F("policy__sources__mode"),
            is_optional=F("policy__sources__is_optional"),
            fallback=F("policy__sources__if_hot_impossible"),
            is_shared=F("policy__sources__is_shared"),
            own_rpo=Subquery(own.values("value")[:1]),
            newest_at=Subquery(newest.values("made_at")[:1]),
            newest_complete=Subquery(newest.values("is_complete")[:1]),
            cold_at=_if_both(cold.values("made_at")[:1]),
            cold_complete=_if_both(cold.values("is_complete")[:1]),
        )
        .filter(is_optional=False)
        .exclude(mode=MODE_OUT)
    )
    listed = columns.values_list(
        "device_id", "policy_id", "key", "mode", "fallback", "policy__rpo", "policy__cold_is_enabled",
        "policy__cold_rpo", "newest_at", "newest_complete", "cold_at", "cold_complete", "own_rpo",
        "is_shared",
    )  # fmt: skip
    return [Row(*values) for values in listed]


def _join_shared(rows: list[Row]) -> list[Row]:
    """Given required sources, return them with what the devices of each policy have together where they are
    shared. A device out of service has its part in it. Runs one query, none when nothing is shared."""
    policies = {row.policy for row in rows if row.is_shared}
    if not policies:
        return rows
    members = PolicyDevice.objects.filter(policy__in=policies, policy__sources__is_shared=True)
    together: dict[tuple[int, str], list[Row]] = {}
    for row in _read_rows(members):
        together.setdefault((row.policy, row.key), []).append(row)
    # Somebody may have changed the policy between the two queries: then its own is all that is known.
    return [_join(row, together.get((row.policy, row.key), [row])) if row.is_shared else row for row in rows]


def _join(row: Row, members: list[Row]) -> Row:
    """Given a shared source and how its devices have it, return it with the newest of them. Pure."""
    hot = max(members, key=lambda each: _age_of(each.newest_at, each.newest_complete))
    cold = max(members, key=lambda each: _age_of(each.cold_at, each.cold_complete))
    return row._replace(
        newest_at=hot.newest_at, newest_complete=hot.newest_complete, made_on=hot.device,
        cold_at=cold.cold_at, cold_complete=cold.cold_complete, cold_on=cold.device,
    )  # fmt: skip


def _age_of(made_at: datetime | None, is_complete: bool | None) -> tuple[float, bool]:
    # Of two of one moment the incomplete one says how it stands, as with one device.
    return (made_at.timestamp() if made_at is not None else float("-inf"), not is_complete)


def _hold(source: SourceExposure, holds: Holds) -> SourceExposure:
    """Given a source, return it as it stands during the pauses."""
    end = holds.find_end(device=source.device_id, policy=source.policy_id, missed_at=source.missed_at)
    return source if end is None else replace(source, standing=Standing.PAUSED, paused_until=end)


def _if_both(found: Any) -> Case:
    """Given the newest cold restore point as a query, return it where one is needed beside a hot one."""
    return Case(When(mode=MODE_BOTH, then=Subquery(found)), default=None)


def _judge_row(row: Row, now: datetime) -> Iterator[SourceExposure]:
    """Yield what a source requires: a copy that is new enough; a cold one beside it for hot and cold."""
    waits = row.mode == MODE_COLD or (row.mode == MODE_HOT and row.fallback == WAIT)
    target = row.cold_rpo if waits and row.has_window else _target_of(row)
    yield _judge(row, target, row.newest_at, bool(row.newest_complete), now, is_cold=row.mode == MODE_COLD)
    if row.mode == MODE_BOTH:
        cold = row._replace(made_on=row.cold_on)
        yield _judge(cold, row.cold_rpo, row.cold_at, bool(row.cold_complete), now, is_cold=True)


def _target_of(row: Row) -> timedelta:
    """Return the target of the policy, or the device's own."""
    return row.rpo if row.own_rpo is None else read_target(row.own_rpo)


def _judge(
    row: Row, target: timedelta, at: datetime | None, is_complete: bool, now: datetime, *, is_cold: bool
) -> SourceExposure:
    standing = judge(at, is_complete, target, now)
    made_on = row.device if row.made_on is None else row.made_on
    return SourceExposure(
        row.device, row.policy, row.key, target, at, is_complete, standing, is_cold, row.mode,
        made_on=made_on if at is not None else None,
    )  # fmt: skip


def list_paused(device_ids: Collection[int]) -> set[int]:
    """Given devices, return those with a policy that is not enabled, or out of service. Runs one query."""
    rows = Device.objects.filter(Q(policies__is_enabled=False) | Q(retired_at__isnull=False))
    if len(device_ids) <= FEW:
        rows = rows.filter(pk__in=device_ids)
    return set(rows.order_by().values_list("pk", flat=True).distinct())


def _list_undecided(device_ids: Collection[int]) -> dict[int, str]:
    """Given devices, return those with something undecided, as it is stored. Runs one query."""
    rows = Exposure.objects.exclude(undecided="")
    if len(device_ids) <= FEW:
        rows = rows.filter(pk__in=device_ids)
    return dict(rows.values_list("pk", "undecided"))


def group_sources(now: datetime, device_ids: Collection[int]) -> dict[int, list[SourceExposure]]:
    """Given the server's time and devices, return the required sources of each. Runs two queries."""
    by_device: dict[int, list[SourceExposure]] = {device: [] for device in device_ids}
    for source in list_sources(now, device_ids if len(device_ids) <= FEW else None):
        if source.device_id in by_device:
            by_device[source.device_id].append(source)
    return by_device


def judge_devices(now: datetime, device_ids: Collection[int]) -> dict[int, DeviceExposure]:
    """Given the server's time and devices, return how each stands. Runs four queries for any number.

    Reads restore points: for a page of devices. `recovery.stored` counts and orders a whole fleet.
    """
    paused, undecided = list_paused(device_ids), _list_undecided(device_ids)
    return {
        device: judge_device(sources, now, is_paused=device in paused, undecided=undecided.get(device, ""))
        for device, sources in group_sources(now, device_ids).items()
    }
