"""What is due by schedule is claimed and made into runs; who is without a backup for too long is told."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Value
from django.db.models.functions import Coalesce, Greatest

from backupsite.alerts import notices
from backupsite.policies.durations import show_duration
from backupsite.policies.effective import TARGET, Own, apply, read_own, read_target
from backupsite.policies.models import Override, Policy, PolicyDevice
from backupsite.policies.pausing import leave_out_paused
from backupsite.policies.planning import Planner
from backupsite.policies.windows import COLD, HOT, MODE_BOTH, MODE_COLD, WINDOW_LASTS, Window, own_window
from backupsite.runs import bell, requests
from backupsite.runs.later import is_away
from backupsite.runs.models import Run
from backupsite.runs.outages import devices_of, list_open

log = logging.getLogger(__name__)

BATCH = 500
# Bounds one tick to about half a second. Workers cannot take more until the next one anyway.
MOST_A_TICK = 2500
SCHEDULE = requests.SCHEDULE


def start_due(now: datetime) -> int:
    """Make a run of every device and policy that is due; return how many. Missed times are made up for by one
    run, never by a burst: the next time is counted from now. A cold window that is over is not made up for.

    Cold first: when both are due, the cold run has the smaller number, and `lease.take` keeps that order."""
    schedules: dict[tuple[int, bool], Planned] = {}
    count = 0
    for is_window in (True, False):
        while count < MOST_A_TICK:
            claimed, made = _start_batch(now, schedules, is_window)
            count += made
            if claimed < BATCH:
                break
    if count:
        log.info("%d runs are due.", count)
    return count


class Planned(NamedTuple):
    """When a policy is next due, by its schedule or in its cold window, and what its runs take then."""

    planner: Planner | None
    window: Window
    policy: Policy


def _start_batch(
    now: datetime, schedules: dict[tuple[int, bool], Planned], is_window: bool
) -> tuple[int, int]:
    """Claim up to BATCH rows and make their runs in one transaction. Return how many of each."""
    with transaction.atomic():
        numbers = requests.lock_numbers()
        rows = _read_due(now, is_window)
        wanted = {row.policy for row in rows if (row.policy, is_window) not in schedules}
        for policy in Policy.objects.filter(pk__in=wanted).prefetch_related("sources", "blocked_hours"):
            schedules[policy.pk, is_window] = _plan(policy, is_window)
        own = {} if is_window else read_own(Override.objects.filter(assignment__in=[row.pk for row in rows]))
        differing: dict[str, Planned] = {}
        planned = [_differ(schedules[row.policy, is_window], own.get(row.pk), differing) for row in rows]
        won = [
            (row, each)
            for row, each in zip(rows, planned, strict=True)
            if _claim(row, each.planner, now, is_window) and not _is_over(row, each, now)
        ]
        made = _make_runs(won, now, numbers, is_window)
    return len(rows), made


def _plan(policy: Policy, is_window: bool) -> Planned:
    if is_window:
        return Planned(Planner.of_window(policy), COLD, policy)
    own = own_window(policy.sources.all(), has_window=policy.cold_is_enabled)
    return Planned(Planner.of(policy), own or HOT, policy)


def _differ(planned: Planned, own: Own | None, differing: dict[str, Planned]) -> Planned:
    """Given what a policy plans and the overrides of a device, return what holds there; `differing` is filled
    with what was made. A window has none."""
    if own is None:
        return planned
    key = json.dumps([planned.policy.pk, own], sort_keys=True)
    if key not in differing:
        differing[key] = _plan(apply(planned.policy, own), is_window=False)
    return differing[key]


def _is_over(row: DueRow, planned: Planned, now: datetime) -> bool:
    """Return whether nothing starts now: these hours are blocked, or its cold window is over."""
    if planned.planner is not None and planned.planner.blocked.is_blocked(now):
        return True
    is_over = planned.window == COLD and row.due is not None and row.due < now - WINDOW_LASTS
    if is_over:
        log.warning("The cold window of device %d by policy %d was missed.", row.device, row.policy)
    return is_over


class DueRow(NamedTuple):
    """A device that is due by a policy, without the cost of model instances."""

    pk: int
    policy: int
    device: int
    device_uuid: UUID
    due: datetime | None
    good_at: datetime | None
    size_bytes: int | None


def _read_due(now: datetime, is_window: bool) -> list[DueRow]:
    column = _column(is_window)
    good_at = "cold_succeeded_at" if is_window else "succeeded_at"
    size = "device__repository__used_bytes"
    due = (
        leave_out_paused(PolicyDevice.objects.filter(policy__is_enabled=True, device__retired_at=None), now)
        .filter(**{f"{column}__lte": now})
        .select_for_update(of=("self",), skip_locked=True)
        .order_by(column)
        .values_list("pk", "policy_id", "device_id", "device__uuid", column, good_at, size)
    )
    return [DueRow(*values) for values in due[:BATCH]]


def _column(is_window: bool) -> str:
    return "next_cold_due" if is_window else "next_due"


def _claim(row: DueRow, planner: Planner | None, now: datetime, is_window: bool) -> bool:
    """Move what was due from what was read to what comes next. Return False when it was not that any more.

    Plain SQL: 10,000 of these through the query builder take longer than a tick may.
    """
    adapt = connection.ops.adapt_datetimefield_value
    table, column = PolicyDevice._meta.db_table, _column(is_window)
    statement = f"UPDATE {table} SET {column} = %s WHERE id = %s AND {column} = %s"  # noqa: S608 (our names)
    # The window may have been taken off since it was planned: then it is not due again.
    due, key = row.due or now, str(row.device_uuid)
    upcoming = planner.follow(due, now, spread_by=key) if planner is not None else None
    with connection.cursor() as cursor:
        cursor.execute(statement, [adapt(upcoming), row.pk, adapt(row.due)])
        return bool(cursor.rowcount == 1)


def _make_runs(
    rows: list[tuple[DueRow, Planned]], now: datetime, numbers: requests.Numbers, is_window: bool
) -> int:
    """Make the runs of claimed rows, except where the same one is active: a hot run that works stands for the
    next hot one, never for a cold one. The sweep of the same tick wakes workers."""
    active = Run.objects.filter(
        kind=Run.BACKUP, state__in=requests.ACTIVE, device__in=[row.device for row, _ in rows]
    ).values_list("device_id", "policy_id", "request")
    same = {(device, policy, request.get("window", HOT)) for device, policy, request in active}
    free = [(row, each) for row, each in rows if (row.device, row.policy, each.window) not in same]
    first = numbers.take(len(free))
    Run.objects.bulk_create(
        Run(
            number=first + position,
            kind=Run.BACKUP,
            device_id=row.device,
            policy_id=row.policy,
            request={"window": each.window},
            requested_by=requests.SCHEDULE,
            queued_at=now,
            place=requests.place_of_backup(
                each.policy,
                now,
                is_window=is_window,
                good_at=row.good_at,
                size_bytes=row.size_bytes,
            ),
        )
        for position, (row, each) in enumerate(free)
    )
    if free:
        transaction.on_commit(lambda: bell.publish([bell.FLEET], {"type": "hint", "id": "", "seq": first}))
    return len(free)


def tell_overdue(now: datetime) -> int:
    """Write a notice for each device whose newest good backup is older than its policy's target; return how
    many. Once for each time that it happens: a good backup starts over. A cold window has its own target."""
    count = 0
    differing = _read_targets()
    for policy in Policy.objects.filter(is_enabled=True).prefetch_related("sources"):
        sources = list(policy.sources.all())
        if not sources or own_window(sources, has_window=policy.cold_is_enabled) is not None:
            count += _tell_late(policy, OWN, policy.rpo, None, now)
            for stored, target in differing.get(policy.pk, ()):
                count += _tell_late(policy, OWN, target, None, now, stored)
        if policy.cold_is_enabled and any(source.mode in (MODE_COLD, MODE_BOTH) for source in sources):
            # Nobody can miss a window that was only now asked for.
            count += _tell_late(policy, IN_WINDOW, policy.cold_rpo, policy.changed_at, now)
    return count


class Told(NamedTuple):
    """Which columns of PolicyDevice tell about a schedule, and its words."""

    succeeded_at: str
    told_at: str
    word: str


OWN = Told("succeeded_at", "overdue_told_at", "backup")
IN_WINDOW = Told("cold_succeeded_at", "cold_overdue_told_at", "cold backup")


def _read_targets() -> dict[int, list[tuple[str, timedelta]]]:
    """Return the targets that devices of each policy have of their own, as stored and as read, each once.
    Runs one query."""
    targets: dict[int, list[tuple[str, timedelta]]] = {}
    rows = Override.objects.filter(field=TARGET, assignment__policy__is_enabled=True).order_by()
    for policy, stored in rows.values_list("assignment__policy_id", "value").distinct():
        targets.setdefault(policy, []).append((stored, read_target(stored)))
    return targets


def _tell_late(
    policy: Policy,
    told: Told,
    target: timedelta,
    asked_at: datetime | None,
    now: datetime,
    stored: str | None = None,
) -> int:
    """Tell of the devices that have this target of their own, as it is `stored`; without it of the others."""
    rows = PolicyDevice.objects.filter(policy=policy, device__retired_at=None)
    if stored is not None:
        rows = rows.filter(overrides__field=TARGET, overrides__value=stored)
    elif told is OWN:
        rows = rows.exclude(overrides__field=TARGET)
    asked = Greatest(F("assigned_at"), Value(asked_at)) if asked_at is not None else F("assigned_at")
    late = (
        leave_out_paused(rows, now)
        .exclude(devices_of(list_open()))  # told once, for all of them
        .exclude(is_away(target, now))
        .filter(**{told.told_at: None})
        .annotate(since=Coalesce(F(told.succeeded_at), asked))
        .filter(since__lt=now - target)
        .select_related("device")[:BATCH]
    )
    return sum(_tell_one(policy, row, told, target, now) for row in late)


def _tell_one(policy: Policy, row: PolicyDevice, told: Told, target: timedelta, now: datetime) -> int:
    since = getattr(row, told.succeeded_at)
    text = (
        f"No {told.word} by the policy {policy.name} has succeeded yet."
        if since is None
        else f"The newest good {told.word} by the policy {policy.name} started at {since:%Y-%m-%d %H:%M} UTC."
    )
    with transaction.atomic():
        untold = PolicyDevice.objects.filter(pk=row.pk, **{told.told_at: None})
        claimed = untold.update(**{told.told_at: now})
        if claimed:
            notices.tell(
                "backup-overdue",
                key=f"overdue-{told.told_at}-{row.pk}-{now:%Y%m%d%H%M%S}",
                title=f"{row.device.name}: {told.word} overdue",
                text=f"{text} The target is {show_duration(target)}.",
                url=row.device.get_absolute_url(),
            )
    return claimed
