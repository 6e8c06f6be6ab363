"""Asking for work, and asking it to stop."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.runs import bell, kinds, queue
from backupsite.runs.models import Counter, Run
from backupsite.runs.states import State

NUMBERS = "run"
ACTIVE = (State.QUEUED, State.RUNNING)


def request_run(
    kind: str,
    device: Device,
    *,
    policy: Policy | None = None,
    request: dict[str, Any],
    requested_by: str,
    retry_of: Run | None = None,
    not_before: datetime | None = None,
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
        run = Run.objects.create(
            number=number.take(),
            kind=kind,
            device=device,
            policy=policy,
            request=request,
            requested_by=requested_by,
            retry_of=retry_of,
            attempt=1 if retry_of is None else retry_of.attempt + 1,
            not_before=not_before,
            queued_at=timezone.now(),
        )
        if not_before is None:
            queue.enqueue_on_commit(run)
        bell.ring_on_commit(run)
    return run


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
