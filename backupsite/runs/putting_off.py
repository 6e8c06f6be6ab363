"""A run whose work cannot begin now waits as the same run, and so does one whose rest is another node's."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from agents.errors import Cancelled, LeaseLost
from backupsite.runs import bell, kinds, queue
from backupsite.runs.closing import Outcome, close, outcome_of
from backupsite.runs.models import Run, RunPhase
from backupsite.runs.states import State
from backupsite.runs.texts import make_storable


def put_off(held: QuerySet[Run], outcome: Outcome) -> Run:
    """Given a run as a query that names who holds it, and until when it waits, make it a queued run again.
    What it told so far is forgotten: it was only that it could not begin.

    Raise LeaseLost when the query is empty. A run that a person cancelled meanwhile is closed instead."""
    with transaction.atomic():
        run = _lock(held)
        if run.cancel_requested_at is not None:
            return close(held, outcome_of(Cancelled("The run was cancelled.")))
        for told in (run.phases, run.lines, run.samples, run.impacts, run.figures, run.checks):
            told.all().delete()
        held.update(
            state=State.QUEUED,
            not_before=outcome.not_before,
            lease_token="",
            lease_until=None,
            started_at=None,
            worker="",
            phase="",
            sequence=F("sequence") + 1,
            error_code=outcome.code,
            error_text=make_storable(outcome.text),
        )
        run.refresh_from_db()
        bell.ring_on_commit(run)
    return run


def hand_over(held: QuerySet[Run], over: kinds.HandOver) -> Run:
    """Given a run as a query that names who holds it, make it a queued run for another node. What it told
    stays: it has done a part.

    Raise LeaseLost when the query is empty. A run that a person cancelled meanwhile is closed instead."""
    with transaction.atomic():
        run = _lock(held)
        if run.cancel_requested_at is not None:
            return close(held, outcome_of(Cancelled("The run was cancelled.")))
        RunPhase.objects.filter(run=run, ended_at=None).update(ended_at=timezone.now())
        held.update(
            state=State.QUEUED,
            beside=over.beside,
            request=over.request,
            lease_token="",
            lease_until=None,
            worker="",
            phase="",
            sequence=F("sequence") + 1,
        )
        run.refresh_from_db()
        queue.wake_on_commit(run.kind, over.beside)
        bell.ring_on_commit(run)
    return run


def _lock(held: QuerySet[Run]) -> Run:
    """Return the run that is held, locked. Raise LeaseLost when the query is empty."""
    run = held.select_related("device").select_for_update(of=("self",)).first()
    if run is None:
        raise LeaseLost("The run was ended by somebody else.")
    return run
