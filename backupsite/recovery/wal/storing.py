"""The run that puts what is in the spool of a log into the repository of its device.

It is a run so that it never works on the repository while a backup does: the database sees to that.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from agents.errors import AgentError, Cancelled, LeaseLost, PlanRefused
from agents.events import Phase, Said, Tell
from agents.flow import phase
from agents.wal.batches import store_batch
from agents.wal.spool import Stretch, current_stretch, stretches
from agents.wal.words import Batch
from backupsite.engine import console_restic
from backupsite.recovery.places import make_place
from backupsite.recovery.wal.keeping import find_spool, keep_batch
from backupsite.recovery.wal.notes import note_not_stored
from backupsite.recovery.wal_models import WalStream
from backupsite.runs.due import SCHEDULE
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from backupsite.web.formatting import format_bytes

# A batch costs a snapshot in the repository: not for every segment, and not for the last minute.
MOST_WAITING_BYTES = 256 * 1024 * 1024
LONGEST_WAIT_S = 30 * 60.0
AFTER_FAILURE = timedelta(minutes=15)
# Of the runs that went well so many stay, for each device: each day has dozens.
KEPT_RUNS = 20


def is_due(spool: Path) -> bool:
    """Given a spool, return whether it is time to store some of it. Reads the directory."""
    current = current_stretch(spool)
    name = current.name if current is not None else ""
    return any(_is_due(each, is_current=each.name == name) for each in stretches(spool))


def _is_due(stretch: Stretch, *, is_current: bool) -> bool:
    waiting = stretch.segments()
    if is_current:
        # Its last one is written to.
        waiting = [each for each in waiting if each[1].stat().st_size == stretch.segment_bytes]
    if not waiting:
        return False
    oldest = waiting[0][1].stat().st_mtime
    size = len(waiting) * stretch.segment_bytes
    return size >= MOST_WAITING_BYTES or time.time() - oldest > LONGEST_WAIT_S


def ask_to_store(stream: WalStream) -> Run | None:
    """Ask for a run that stores what is in the spool; None when one has failed just now. Asking again while
    it waits or works is the same run."""
    request = {"stream": stream.pk.hex}
    newest = Run.objects.filter(kind=Run.LOG, device=stream.device_id, request=request).first()
    if newest is not None and not State(newest.state).is_good and _is_recent(newest):
        return None
    return request_run(Run.LOG, stream.device, request=request, requested_by=SCHEDULE)


def _is_recent(run: Run) -> bool:
    return run.ended_at is not None and run.ended_at > timezone.now() - AFTER_FAILURE


class StoreLog:
    """Stores all that can leave the spool of one log."""

    name = Run.LOG
    queue: QueueName = "bulk"
    # The next one does what this one did not.
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        stream = WalStream.objects.select_related("device").filter(pk=run.request["stream"]).first()
        spool = find_spool(stream) if stream is not None else None
        if stream is None or spool is None:
            raise PlanRefused("There is no log of this database any more, or its disk is not mounted.")
        repository, place = make_place(run.device, tell)

        def keep(batch: Batch) -> None:
            control.raise_if_stopped()
            keep_batch(stream, repository, batch)

        count, size = 0, 0
        try:
            with phase(tell, Phase.TRANSFER):
                while batch := store_batch(place, console_restic(), spool, host=run.device.slug, keep=keep):
                    count, size = count + 1, size + batch.bytes
                    control.raise_if_stopped()
        except (Cancelled, LeaseLost):
            raise
        except AgentError as error:
            reason = f"{error.message} {error.remedy}".strip()
            control.in_transaction(lambda: note_not_stored(stream, run, reason))
            raise
        tell(Said(f"{format_bytes(size)} of log went into the repository, in {count} parts."))
        control.in_transaction(lambda: forget_old_runs(run))
        return Ended(State.SUCCEEDED)


def forget_old_runs(run: Run) -> None:
    """Remove the oldest runs of this kind that went well: a log of years must not fill the database."""
    good = Run.objects.filter(device=run.device_id, kind=Run.LOG, state=State.SUCCEEDED)
    kept = list(good.order_by("-number").values_list("pk", flat=True)[:KEPT_RUNS])
    if len(kept) == KEPT_RUNS:
        good.exclude(pk__in=kept).delete()
