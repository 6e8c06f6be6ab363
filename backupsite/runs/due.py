"""What is due by schedule is claimed and made into runs; who is without a backup for too long is told."""

from __future__ import annotations

import logging
from datetime import datetime

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
SCHEDULE = "schedule"


def start_due(now: datetime) -> int:
    """Make a run of every device and policy that is due; return how many. Missed times are made up for by one
    run, never by a burst: the next time is counted from now."""
    schedules: dict[int, Schedule] = {}
    count = 0
    while True:
        claimed, made = _start_batch(now, schedules)
        count += made
        if claimed < BATCH:
            break
    if count:
        log.info("%d runs are due.", count)
    return count


def _start_batch(now: datetime, schedules: dict[int, Schedule]) -> tuple[int, int]:
    """Claim up to BATCH rows and make their runs in one transaction. Return how many of each."""
    with transaction.atomic():
        numbers = requests.lock_numbers()
        rows = list(
            PolicyDevice.objects.filter(next_due__lte=now, policy__is_enabled=True)
            .select_related("policy", "device")
            .select_for_update(of=("self",), skip_locked=True)
            .order_by("next_due")[:BATCH]
        )
        claims = []
        for row in rows:
            if row.policy_id not in schedules:
                schedules[row.policy_id] = Schedule.of(row.policy)
            upcoming = schedules[row.policy_id].next_after(now, spread_by=str(row.device.uuid))
            claims.append((upcoming, row.pk, row.next_due))
        won = _claim(claims)
        made = _make_runs([row for row in rows if row.pk in won], now, numbers)
    return len(rows), made


def _claim(claims: list[tuple[datetime | None, int, datetime | None]]) -> set[int]:
    """Move next_due from what was read to what comes next; return the rows for which that held.

    Plain SQL: 10,000 updates of one row each through the query builder take longer than a tick may.
    """
    if not claims:
        return set()
    adapt = connection.ops.adapt_datetimefield_value
    table = PolicyDevice._meta.db_table
    statement = f"UPDATE {table} SET next_due = %s WHERE id = %s AND next_due = %s"  # noqa: S608 (our table)
    won = set()
    with connection.cursor() as cursor:
        for upcoming, row, read in claims:
            cursor.execute(statement, [adapt(upcoming), row, adapt(read)])
            if cursor.rowcount == 1:
                won.add(row)
    return won


def _make_runs(rows: list[PolicyDevice], now: datetime, numbers: requests.Numbers) -> int:
    """Make the runs of claimed rows, except where one is active. The sweep of the same tick wakes workers."""
    active = set(
        Run.objects.filter(
            kind=Run.BACKUP, state__in=requests.ACTIVE, device__in=[row.device_id for row in rows]
        ).values_list("device_id", "policy_id")
    )
    free = [row for row in rows if (row.device_id, row.policy_id) not in active]
    first = numbers.take(len(free))
    Run.objects.bulk_create(
        Run(
            number=first + place,
            kind=Run.BACKUP,
            device_id=row.device_id,
            policy_id=row.policy_id,
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
