"""A worker's right to a run: taken, renewed and asked for. The database decides who holds it.

1. `claim` makes the run RUNNING by a conditional UPDATE under a fresh token.
2. `renew` moves lease_until while the row still carries the token and reads the cancel column.
3. Who writes for the run names the token in its WHERE; when no row matches, another one decided meanwhile.

lease_until is a moment of the database's clock: who renews and who judges may be two machines.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from agents.errors import Cancelled, LeaseLost
from backupsite import clock
from backupsite.policies.windows import COLD
from backupsite.repositories import nodes
from backupsite.runs.models import Run
from backupsite.runs.states import State

LEASE = timedelta(seconds=30)
RENEW_S = 5.0


class Lease:
    """The lease of one run in this process. Implements `kinds.Control`."""

    def __init__(self, run_id: uuid.UUID, token: str, good_until: float) -> None:
        self.run_id = run_id
        self.token = token
        self.stop_event = threading.Event()
        self.callbacks: list[Callable[[], None]] = []
        self.is_cancelled = False
        self.is_lost = False
        self._good_until = good_until

    def raise_if_stopped(self) -> None:
        if self.is_lost:
            raise LeaseLost("Another worker may hold this run now.")
        if self.is_cancelled:
            raise Cancelled("The run was cancelled.")

    def is_current(self) -> bool:
        return not self.is_lost and time.monotonic() < self._good_until

    def in_transaction(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def rows(self) -> QuerySet[Run]:
        """Return the run as a query that is empty once this worker does not hold it any more."""
        return Run.objects.filter(pk=self.run_id, state=State.RUNNING, lease_token=self.token)

    def renew(self) -> None:
        """Extend the lease and learn of a cancel. Runs three queries. Raise DatabaseError, then try again."""
        # Counted from before the UPDATE: what is_current promises may only end too early, never too late.
        started = time.monotonic()
        if not self.rows().update(lease_until=clock.now() + LEASE):
            self.mark_lost()
            return
        self._good_until = started + LEASE.total_seconds()
        self.look_for_cancel()

    def look_for_cancel(self) -> None:
        """Learn of a cancel. Runs one query; raises DatabaseError, then try again."""
        if self.rows().filter(cancel_requested_at__isnull=False).exists():
            self.is_cancelled = True
            self.stop_event.set()

    def mark_lost(self) -> None:
        """Remember that the run is somebody else's: nothing may be written any more."""
        self.is_lost = True
        self.stop_event.set()


def name_worker(pid: int) -> str:
    """Return how this machine's process is named in a run."""
    return nodes.name_process(pid)


def take(run_id: uuid.UUID) -> Lease | None:
    """Claim this run for this process, whoever's turn it is. Return None when it is not queued, its time has
    not come, or the database lets no other run work where it would."""
    waiting = Run.objects.filter(Q(not_before=None) | Q(not_before__lte=timezone.now()), pk=run_id)
    return claim(waiting.exclude(waits_for_cold(timezone.now())), run_id)


def claim(waiting: QuerySet[Run], run_id: uuid.UUID) -> Lease | None:
    """Make a run of `waiting` this process's own when it is still queued. Return None when it is not."""
    token = secrets.token_hex(16)
    started, now = time.monotonic(), timezone.now()
    try:
        with transaction.atomic():
            taken = waiting.filter(pk=run_id, state=State.QUEUED).update(
                state=State.RUNNING,
                lease_token=token,
                lease_until=clock.now() + LEASE,
                started_at=now,
                worker=name_worker(os.getpid()),
                sequence=F("sequence") + 1,
            )
    except IntegrityError:
        # The unique constraints of the table: one running run a device, one drill on the console's machine.
        return None
    return Lease(run_id, token, started + LEASE.total_seconds()) if taken else None


def waits_for_cold(now: datetime) -> Q:
    """Return which backups wait because a cold one that was asked for before is still queued for the same
    device and policy: its window is short, the hot one can wait. A cold one that waits for its retry lets
    others go first."""
    # As an expression no index is taken for it: those of the device are few, those that wait may be many.
    cold = Run.objects.annotate(its_state=Coalesce("state", Value(""))).filter(
        Q(not_before=None) | Q(not_before__lte=now),
        kind=Run.BACKUP, its_state=State.QUEUED, request__window=COLD, retry_of=None,
        device=OuterRef("device"), policy=OuterRef("policy"), number__lt=OuterRef("number"),
    )  # fmt: skip
    return Q(Exists(cold), kind=Run.BACKUP)


def expire(worker: str) -> None:
    """Let the lease of a worker end now because its process is known to be dead. The sweep does the rest."""
    Run.objects.filter(state=State.RUNNING, worker=worker).update(lease_until=clock.now())
