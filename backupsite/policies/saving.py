"""What follows from saving a policy."""

from __future__ import annotations

from datetime import datetime

from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.schedule import Schedule


def plan_next(policy: Policy, now: datetime) -> None:
    """Set when each device of a policy is next due. Call it in the transaction that saved the policy or its
    devices. Writes only rows that change; what is due already stays due. Raise ValueError for a schedule that
    `Schedule.check` refuses."""
    schedule = Schedule.of(policy)
    schedule.check()
    changed = []
    for row in PolicyDevice.objects.filter(policy=policy).select_related("device"):
        upcoming = _next_of(row, schedule, now) if policy.is_enabled else None
        if row.next_due != upcoming:
            row.next_due = upcoming
            changed.append(row)
    PolicyDevice.objects.bulk_update(changed, ["next_due"], batch_size=500)


def _next_of(row: PolicyDevice, schedule: Schedule, now: datetime) -> datetime | None:
    upcoming = schedule.next_after(now, spread_by=str(row.device.uuid))
    if upcoming is not None and row.next_due is not None and row.next_due <= now:
        return row.next_due
    return upcoming
