"""Asking for work, and asking it to stop."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.policies.effective import on_device
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.windows import COLD
from backupsite.repositories.models import Repository
from backupsite.runs import bell, kinds, places, queue
from backupsite.runs.models import Counter, Run
from backupsite.runs.states import State

NUMBERS = "run"
# Who asked for a run when nobody did.
SCHEDULE = "schedule"
ACTIVE = (State.QUEUED, State.RUNNING)


def request_run(
    kind: str,
    device: Device,
    *,
    policy: Policy | None = None,
    request: dict[str, Any],
    requested_by: str,
    retry_of: Run | None = None,
    attempt: int = 1,
    not_before: datetime | None = None,
    beside: Device | None = None,
) -> Run:
    """Make a run and wake a worker on commit. Return the active one that does the same when there is
    one: a double click is one run. Raise LookupError when the kind is not known."""
    kinds.find(kind)
    with transaction.atomic():
        number = lock_numbers()
        same = Run.objects.filter(kind=kind, device=device, policy=policy, request=request)
        active = same.filter(state__in=ACTIVE).first()
        if active is not None:
            return active
        now = timezone.now()
        place = find_place(kind, device, policy, request, requested_by, not_before or now)
        run = Run.objects.create(
            number=number.take(),
            kind=kind,
            device=device,
            beside=beside,
            policy=policy,
            request=request,
            requested_by=requested_by,
            retry_of=retry_of,
            attempt=attempt,
            not_before=not_before,
            queued_at=now,
            place=place,
        )
        if not_before is None:
            queue.wake_on_commit(kind, beside or device)
        bell.ring_on_commit(run)
    return run


def find_place(
    kind: str,
    device: Device,
    policy: Policy | None,
    request: dict[str, Any],
    requested_by: str,
    asked_at: datetime,
) -> datetime:
    """Given what is asked for, return its place among what waits. Interactive work has a queue of its own,
    in which who comes first goes first. Runs three queries for a backup of the schedule, else none."""
    if queue.queue_of(kind) == queue.INTERACTIVE:
        return asked_at
    if requested_by != SCHEDULE:
        return places.place_asked(asked_at)
    if kind != Run.BACKUP or policy is None:
        return places.place_other(asked_at, priority=places.FIRST if kind == Run.LOG else places.LAST)
    assigned = PolicyDevice.objects.filter(policy=policy, device=device).first()
    size = Repository.objects.filter(device=device).values_list("used_bytes", flat=True).first()
    is_window = policy.cold_is_enabled and request.get("window") == COLD
    good_at = None if assigned is None else assigned.cold_succeeded_at if is_window else assigned.succeeded_at
    policy = on_device(policy, device) or policy
    return place_of_backup(policy, asked_at, is_window=is_window, good_at=good_at, size_bytes=size)


def place_of_backup(
    policy: Policy, asked_at: datetime, *, is_window: bool, good_at: datetime | None, size_bytes: int | None
) -> datetime:
    """Given a backup by the schedule or in the cold window, and when the newest good one of it started,
    return its place. Without any the device misses its target already. The window is short: it goes first."""
    target = policy.cold_rpo if is_window else policy.rpo
    return places.place_backup(
        asked_at,
        priority=places.FIRST if is_window else policy.priority,
        wanted_by=asked_at if good_at is None else good_at + target,
        size_bytes=size_bytes or None,
    )


class Numbers:
    """The run numbers, locked for the transaction: also what makes "is there an active run?" safe to ask."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    def take(self, count: int = 1) -> int:
        """Reserve `count` numbers and return the first."""
        first = self._counter.value + 1
        self._counter.value += count
        self._counter.save(update_fields=["value"])
        return first


def lock_numbers() -> Numbers:
    """Lock the counter until the transaction ends. Transactions of SQLite exclude each other anyway."""
    Counter.objects.get_or_create(name=NUMBERS)
    return Numbers(Counter.objects.select_for_update().get(name=NUMBERS))


def cancel_run(run: Run, *, by: str) -> bool:
    """Ask a run to stop: a waiting one is cancelled at once, a running one stops by itself within seconds.

    Return False when it had ended already.
    """
    now = timezone.now()
    asked = {"cancel_requested_at": now, "cancel_requested_by": by[:64], "sequence": F("sequence") + 1}
    waiting = Run.objects.filter(pk=run.pk, state=State.QUEUED)
    if waiting.update(state=State.CANCELLED, ended_at=now, **asked):
        bell.ring_on_commit(run)
        return True
    working = Run.objects.filter(pk=run.pk, state=State.RUNNING)
    done = bool(working.filter(cancel_requested_at=None).update(**asked)) or working.exists()
    bell.ring_on_commit(run)
    return done
