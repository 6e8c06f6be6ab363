"""What is done later than it was planned: what blocked hours stopped, and machines that are away.

A machine that is away for weeks leaves one run that waits, not thousands that failed, and is no alarm.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from backupsite.policies.blocked import Blocked
from backupsite.policies.windows import COLD
from backupsite.runs import requests
from backupsite.runs.models import Run

# How soon a machine that was away is tried again: every few minutes at first, later a sixth of the time that
# it is away, but at least this often. Each try holds a worker for as long as a connection may take.
SOONEST, LATEST = timedelta(minutes=5), timedelta(minutes=30)


def wait_for_device(run: Run, now: datetime) -> datetime:
    """Given a run whose device is away, return when to try it again."""
    return now + min(max((now - run.queued_at) / 6, SOONEST), LATEST)


def go_on_later(run: Run) -> Run | None:
    """Given a run that blocked hours stopped, ask for one that goes on when they are over. Return it; None
    for a cold run, which nobody wants at another time than its own."""
    if run.policy is None or run.cancel_requested_at is not None or run.request.get("window") == COLD:
        return None
    free = Blocked.of(run.policy).free_after(timezone.now())
    if free is None:
        return None
    return requests.request_run(
        run.kind,
        run.device,
        policy=run.policy,
        request=run.request,
        requested_by=run.requested_by,
        not_before=free,
    )


def is_away(target: timedelta, now: datetime) -> Q:
    """Return which devices under policies are no alarm yet: machines that are not always on, whose backup
    waits or works, until the target has passed since they were last reached."""
    active = Run.objects.filter(
        kind=Run.BACKUP,
        state__in=requests.ACTIVE,
        device=OuterRef("device_id"),
        policy=OuterRef("policy_id"),
    )
    return Q(Exists(active), device__is_always_on=False, device__reached_at__gte=now - target)
