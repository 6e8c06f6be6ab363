"""Puts right what went wrong: runs whose worker vanished, wake-ups that Redis lost; and thins old samples."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db.models import Count

from agents.errors import LeaseLost
from backupsite import clock
from backupsite.runs import dispatch
from backupsite.runs.closing import LOST, close
from backupsite.runs.models import Run, RunImpact, RunSample, TickLease
from backupsite.runs.states import State
from backupsite.runs.thinning import thin

log = logging.getLogger(__name__)

THIN_AFTER = timedelta(days=7)
THIN = "thin"
OLD_SAMPLES = 60
THIN_BATCH = 50


def look_for_lost(_: datetime) -> None:
    """A step of the tick. Its own clock judges nobody: leases are moments of the database's."""
    end_lost(clock.now())


def end_lost(now: datetime) -> int:
    """Given the time of the database's clock, end the runs whose lease ran out, each in its own transaction;
    return how many."""
    count = 0
    for run in Run.objects.filter(state=State.RUNNING, lease_until__lt=now):
        # Both conditions again: it may have been renewed, or ended, since it was read.
        held = Run.objects.filter(
            pk=run.pk, state=State.RUNNING, lease_token=run.lease_token, lease_until__lt=now
        )
        try:
            close(held, LOST)
        except LeaseLost:
            continue
        log.warning("Run %d lost its worker %s.", run.number, run.worker)
        count += 1
    return count


def wake_queued(now: datetime) -> int:
    """Wake workers for the queued runs that may work now. Return how many were woken."""
    return dispatch.wake_ready(now)


def thin_old(now: datetime) -> None:
    """Thin the samples and impacts of runs that ended a week ago, a few at a time.

    How far this came is a row of TickLease: its `ticked_at` is the end of the last run that was looked at.
    """
    mark, _ = TickLease.objects.get_or_create(name=THIN)
    ended = Run.objects.filter(ended_at__lt=now - THIN_AFTER)
    if mark.ticked_at is not None:
        ended = ended.filter(ended_at__gt=mark.ticked_at)
    # Picked before their samples are counted: else the database counts those of every old run first.
    batch = list(ended.order_by("ended_at")[:THIN_BATCH])
    for model in (RunSample, RunImpact):
        kept = model.objects.filter(run__in=batch).order_by().values_list("run_id").annotate(Count("pk"))
        for run_id, count in kept.values_list("run_id", "pk__count"):
            if count > OLD_SAMPLES:
                thin(model.objects.filter(run=run_id), -(-count // OLD_SAMPLES))
    if batch:
        TickLease.objects.filter(name=THIN).update(ticked_at=batch[-1].ended_at)
