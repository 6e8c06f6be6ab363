"""The end of a run: one final state, its results, its retry and its notice, in one transaction."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from agents.errors import AgentError, Cancelled, HoursBlocked, LeaseLost, ServiceDown
from backupsite.alerts import notices
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.windows import COLD, own_window
from backupsite.runs import bell, breaker, kinds, requests
from backupsite.runs.later import go_on_later
from backupsite.runs.models import Run, RunPhase
from backupsite.runs.states import State
from backupsite.runs.texts import make_storable

# How long before the next attempt at least, by the number of the one that failed. There is none after the
# last. Up to as much again is added, other for each run: a thousand that failed together come back apart.
BACK_OFF = (timedelta(minutes=1), timedelta(minutes=5))
# A lost worker's device heals itself within 20 s of silence; the retry comes after that.
LOST_WAIT = timedelta(seconds=25)
DETAIL_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a closed run says."""

    state: State
    code: str = ""
    text: str = ""
    remedy: str = ""
    detail: str = ""
    is_retryable: bool = False
    not_before: datetime | None = None  # it did not end: it waits until then (`putting_off`)
    handed: kinds.HandOver | None = None  # it did not end: another node goes on (`putting_off`)


def outcome_of(error: AgentError) -> Outcome:
    """Given an error that we understand, return how the run ends."""
    if isinstance(error, LeaseLost):
        return LEASE_LOST
    state = State.CANCELLED if isinstance(error, Cancelled | HoursBlocked) else State.FAILED
    return Outcome(state, error.code, error.message, error.remedy, error.detail, error.retryable)


def outcome_of_bug(error: BaseException) -> Outcome:
    """Given an exception that nobody expected, return how the run ends: errored, with the traceback's end."""
    lines = "".join(traceback.format_exception(error))
    return Outcome(
        State.ERRORED,
        "fault",
        f"A fault in Hotfleet ended this run: {type(error).__name__}.",
        "Please report it with the details below.",
        lines[-DETAIL_BYTES:],
    )


LOST = Outcome(
    State.LOST,
    "worker-lost",
    "The worker of this run stopped answering, so nobody knows how far it came.",
    "The device cleans up by itself.",
)
LEASE_LOST = Outcome(
    State.LOST,
    LeaseLost.code,
    "The worker of this run could not say in time that it still works, so it stopped writing.",
    "Look whether the database answers. The device was cleaned up.",
)
STOPPED = Outcome(
    State.LOST,
    "worker-stopped",
    "Hotfleet was stopped while this run was working. Its steps on the device were undone.",
)
_AFTER_LOSS = {
    Run.BACKUP: "The backup is tried once more.",
    Run.RESTORE: "Look at its log how far it came, and restore again.",
}


def close(held: QuerySet[Run], outcome: Outcome, results: Sequence[Callable[[], None]] = ()) -> Run:
    """Given the run as a query that names who holds it, end it. Return the run as it is stored now.

    Raise LeaseLost when the query is empty: somebody else ended it. When a callback of `results` raises,
    nothing is written and its exception passes through.
    """
    with transaction.atomic():
        run = held.select_related("device", "policy").select_for_update(of=("self",)).first()
        now = timezone.now()
        if run is None or not held.update(
            state=outcome.state,
            ended_at=now,
            lease_until=None,
            sequence=F("sequence") + 1,
            error_code=outcome.code,
            error_text=make_storable(outcome.text),
            error_remedy=make_storable(_remedy_for(run, outcome)),
            error_detail=make_storable(outcome.detail, DETAIL_BYTES),
        ):
            raise LeaseLost("The run was ended by somebody else.")
        RunPhase.objects.filter(run=run, ended_at=None).update(ended_at=now)
        for write in results:
            write()
        run.refresh_from_db()
        retry = request_retry(run, outcome)
        if retry is None:
            tell_failure(run)
        if run.kind == Run.BACKUP and run.policy is not None and outcome.state.is_good:
            _note_success(run, run.policy)
        bell.ring_on_commit(run)
    return run


def _note_success(run: Run, policy: Policy) -> None:
    """Remember when this good backup started: for the policy's schedule, for its cold window, or for both."""
    assigned = PolicyDevice.objects.filter(policy=policy, device=run.device_id)
    own = own_window(policy.sources.all(), has_window=policy.cold_is_enabled)
    window = run.request.get("window", own)
    if window == own:
        assigned.update(succeeded_at=run.started_at, overdue_told_at=None)
    if window == COLD:
        assigned.update(cold_succeeded_at=run.started_at, cold_overdue_told_at=None)


def _remedy_for(run: Run, outcome: Outcome) -> str:
    """A lost run says what becomes of it, whatever was the cause."""
    if outcome.state is not State.LOST:
        return outcome.remedy
    next_step = _AFTER_LOSS.get(run.kind, "Ask for it again.")
    if run.kind == Run.BACKUP and find_wait(run, outcome) is None:
        next_step = "It was tried before: back up again when the cause is mended."
    return f"{outcome.remedy} {next_step}".strip()


def request_retry(run: Run, outcome: Outcome) -> Run | None:
    """Given a run that has just ended, ask for another attempt if that can help. Return it, or None."""
    if outcome.code == HoursBlocked.code:
        return go_on_later(run)
    # An outage that lasts is no fault of this run: it does not use up an attempt.
    is_waited_for = breaker.is_waited_for(run)
    wait = BACK_OFF[0] if is_waited_for else find_wait(run, outcome)
    if wait is None:
        return None
    try:
        may_retry = kinds.find(run.kind).may_retry
    except LookupError:
        return None
    if not may_retry or run.cancel_requested_at is not None:
        return None
    return requests.request_run(
        run.kind,
        run.device,
        beside=run.beside,
        policy=run.policy,
        request=run.request,
        requested_by=run.requested_by,
        retry_of=run,
        attempt=run.attempt + (0 if is_waited_for else 1),
        not_before=timezone.now() + wait,
    )


def find_wait(run: Run, outcome: Outcome) -> timedelta | None:
    """Return how long to wait before the next attempt, None when there is none: two more attempts after an
    error that may pass, one after a lost worker (a run that kills its worker must not do so for ever)."""
    if run.attempt > len(BACK_OFF):
        return None
    if outcome.state == State.LOST:
        before = run.retry_of
        return None if before is not None and before.state == State.LOST else LOST_WAIT
    if outcome.state == State.FAILED and outcome.is_retryable:
        return BACK_OFF[run.attempt - 1] * (1 + _share_of(run))
    return None


def _share_of(run: Run) -> float:
    """Return a number from 0 to 1 that is always the same for a run, and spread evenly over all of them."""
    return int.from_bytes(hashlib.sha256(run.pk.bytes).digest()[:4]) / 2**32


def tell_failure(run: Run) -> None:
    """Write the notice of a backup that failed for good. Cancelled by a person is no news. The loudest is a
    service that we stopped and that does not run again."""
    state = State(run.state)
    if run.kind != Run.BACKUP or state.is_good or state == State.CANCELLED:
        return
    is_down = run.error_code == ServiceDown.code
    what = "SERVICE DOWN after a cold backup" if is_down else "backup failed"
    notices.tell_or_log(
        "service-down" if is_down else "backup-failed",
        key=f"run-{run.pk}",
        title=f"{run.device.name}: {what}",
        text="\n".join(part for part in (run.error_text, run.error_remedy) if part),
        url=run.get_absolute_url(),
    )
