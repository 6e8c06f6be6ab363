"""What is due by schedule is claimed and made into runs; who is without a backup for too long is told."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from backupsite.alerts import notices
from backupsite.policies.durations import show_duration
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.schedule import Schedule
from backupsite.runs import bell, requests
from backupsite.runs.models import Run

log = logging.getLogger(__name__)

BATCH = 500
# Bounds one tick to about a second. More at once (after a long stop) is more than workers can take anyway.
MOST_A_TICK = 4000
SCHEDULE = "schedule"


def start_due(now: datetime) -> int:
    """Make a run of every device and policy that is due; return how many. Missed times are made up for by one
    run, never by a burst: the next time is counted from now."""
    schedules: dict[int, Schedule] = {}
    count = 0
    while True:
        claimed, made = _start_batch(now, schedules)
        count += made
        if claimed < BATCH or count >= MOST_A_TICK:
            break
    if count:
        log.info("%d runs are due.", count)
    return count


def _start_batch(now: datetime, schedules: dict[int, Schedule]) -> tuple[int, int]:
    """Claim up to BATCH rows and make their runs in one transaction. Return how many of each."""
    with transaction.atomic():
        numbers = requests.lock_numbers()
        rows = _read_due(now)
        for policy in Policy.objects.filter(pk__in={row.policy for row in rows} - schedules.keys()):
            schedules[policy.pk] = Schedule.of(policy)
        won = [row for row in rows if _claim(row, schedules[row.policy], now)]
        made = _make_runs(won, now, numbers)
    return len(rows), made


class DueRow(NamedTuple):
    """A device that is due by a policy, without the cost of model instances."""

    pk: int
    policy: int
    device: int
    device_uuid: UUID
    next_due: datetime | None


def _read_due(now: datetime) -> list[DueRow]:
    due = (
        PolicyDevice.objects.filter(next_due__lte=now, policy__is_enabled=True)
        .select_for_update(of=("self",), skip_locked=True)
        .order_by("next_due")
        .values_list("pk", "policy_id", "device_id", "device__uuid", "next_due")
    )
    return [DueRow(*values) for values in due[:BATCH]]


def _claim(row: DueRow, schedule: Schedule, now: datetime) -> bool:
    """Move next_due from what was read to what comes next. Return False when it was not that any more.

    Plain SQL: 10,000 of these through the query builder take longer than a tick may.
    """
    adapt = connection.ops.adapt_datetimefield_value
    table = PolicyDevice._meta.db_table
    statement = f"UPDATE {table} SET next_due = %s WHERE id = %s AND next_due = %s"  # noqa: S608 (our table)
    upcoming = schedule.next_after(now, spread_by=str(row.device_uuid))
    with connection.cursor() as cursor:
        cursor.execute(statement, [adapt(upcoming), row.pk, adapt(row.next_due)])
        return bool(cursor.rowcount == 1)


def _make_runs(rows: list[DueRow], now: datetime, numbers: requests.Numbers) -> int:
    """Make the runs of claimed rows, except where one is active. The sweep of the same tick wakes workers."""
    active = set(
        Run.objects.filter(
            kind=Run.BACKUP, state__in=requests.ACTIVE, device__in=[row.device for row in rows]
        ).values_list("device_id", "policy_id")
    )
    free = [row for row in rows if (row.device, row.policy) not in active]
    first = numbers.take(len(free))
    Run.objects.bulk_create(
        Run(
            number=first + place,
            kind=Run.BACKUP,
            device_id=row.device,
            policy_id=row.policy,
            requested_by=SCHEDULE,
            queued_at=now,
        )
        for place, row in enumerate(free)
    )
    if free:
        transaction.on_commit(lambda: bell.publish([bell.FLEET], {"type": "hint", "id": "", "seq": first}))
    return len(free)


def tell_overdue(now: datetime) -> int:
    """Write a notice for each device whose newest good backup is older than its policy's target; return how
    many. Once for each time that it happens: a good backup starts over."""
    count = 0
    for policy in Policy.objects.filter(is_enabled=True):
        late = (
            PolicyDevice.objects.filter(policy=policy, overdue_told_at=None)
            .annotate(since=Coalesce(F("succeeded_at"), F("assigned_at")))
            .filter(since__lt=now - policy.rpo)
            .select_related("device")[:BATCH]
        )
        for row in late:
            count += _tell_one(policy, row, now)
    return count


def _tell_one(policy: Policy, row: PolicyDevice, now: datetime) -> int:
    since = row.succeeded_at
    text = (
        f"No backup by the policy {policy.name} has succeeded yet."
        if since is None
        else f"The newest good backup by the policy {policy.name} started at {since:%Y-%m-%d %H:%M} UTC."
    )
    with transaction.atomic():
        claimed = PolicyDevice.objects.filter(Q(overdue_told_at=None), pk=row.pk).update(overdue_told_at=now)
        if claimed:
            notices.tell(
                "backup-overdue",
                key=f"overdue-{row.pk}-{now:%Y%m%d%H%M%S}",
                title=f"{row.device.name}: backup overdue",
                text=f"{text} The target is {show_duration(policy.rpo)}.",
                url=row.device.get_absolute_url(),
            )
    return claimed
