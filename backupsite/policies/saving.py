"""What follows from saving a policy."""

from __future__ import annotations

from datetime import datetime

from django.db import connection, transaction

from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.schedule import Schedule


def plan_next(policy: Policy, now: datetime) -> None:
    """Set when each device of a policy is next due. Call it in the transaction that saved the policy or its
    devices. Writes only rows that change; what is due already stays due. Raise ValueError for a schedule that
    `Schedule.check` refuses."""
    schedule = Schedule.of(policy)
    schedule.check()
    changed = []
    rows = PolicyDevice.objects.filter(policy=policy).values_list("pk", "device__uuid", "next_due")
    for row, device, planned in rows:
        upcoming = schedule.next_after(now, spread_by=str(device)) if policy.is_enabled else None
        if upcoming is not None and planned is not None and planned <= now:
            continue
        if planned != upcoming:
            changed.append((upcoming, row))
    _write(changed)


def _write(changed: list[tuple[datetime | None, int]]) -> None:
    """Store the times. Plain SQL: for 10,000 devices the query builder takes seconds."""
    adapt = connection.ops.adapt_datetimefield_value
    statement = f"UPDATE {PolicyDevice._meta.db_table} SET next_due = %s WHERE id = %s"  # noqa: S608 (our table)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(statement, [(adapt(at), row) for at, row in changed])
