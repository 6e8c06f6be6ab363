"""Runs one run in a work horse: lease, work, one final state; then whoever waited for its end is woken."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections

from agents.errors import AgentError, Cancelled, LeaseLost
from backupsite.runs import bell, dispatch, kinds, queue
from backupsite.runs.closing import STOPPED, Outcome, close, outcome_of, outcome_of_bug
from backupsite.runs.lease import LEASE, RENEW_S, Lease, take
from backupsite.runs.models import Run
from backupsite.runs.progress import FLUSH_S, Recorder
from backupsite.runs.putting_off import hand_over, put_off
from backupsite.runs.states import State

log = logging.getLogger(__name__)

# What a database raises that is locked, restarted or out of reach.
AWAY = (OperationalError, InterfaceError)


def execute_next(name: str) -> Run | None:
    """Given a queue, do the work of the run whose turn it is and close it; then wake those who may go on now.
    Return it, or None when there is none that may run.

    Raise ValueError when there is no such queue: the name comes from Redis. What the database raises passes.
    """
    lease = dispatch.take_next(queue.find_name(name))
    if lease is None:
        return None
    run = _execute(lease)
    try:
        dispatch.wake_others()
    except AWAY as error:
        log.warning("The database refuses to say who is next, the tick asks again: %s", error)
    return run


def execute_run(run_id: str) -> Run | None:
    """Given the id of a queued run, do its work and close it, whoever's turn it is. Return it, or None when
    it is not to be had.

    Raise nothing but what the database raises: every other end of the work is a state of the run.
    """
    lease = take(uuid.UUID(run_id))
    return None if lease is None else _execute(lease)


def _execute(lease: Lease) -> Run:
    run = Run.objects.select_related("device", "policy").get(pk=lease.run_id)
    bell.ring(run.pk, run.device.uuid, run.sequence)
    recorder = Recorder(run, lease)
    with keep(lease, recorder):
        outcome = work(run, recorder, lease)
    finish(run, lease, recorder, outcome)
    return run


class Stopper:
    """Turns SIGTERM into WorkerStopped, but only inside of the work: closing a run is never interrupted."""

    def __init__(self) -> None:
        self.is_asked = False
        self._is_working = False

    def ask(self) -> None:
        """Called by the signal handler, in the main thread. Raise WorkerStopped while a run works."""
        self.is_asked = True
        if self._is_working:
            self._is_working = False
            raise kinds.WorkerStopped

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let the body be stopped. Raise WorkerStopped when that was asked for already."""
        try:
            self._is_working = True
            if self.is_asked:
                raise kinds.WorkerStopped
            yield
        finally:
            self._is_working = False


stopper = Stopper()


def work(run: Run, recorder: Recorder, lease: Lease) -> Outcome:
    """Do the work of a run that this process holds and return how it ended. Never raises."""
    try:
        kind = kinds.find(run.kind)
        with stopper.working():
            ended = kind.work(run, recorder, lease)
    except kinds.WorkerStopped:
        return STOPPED
    except kinds.PutOff as wait:
        return Outcome(State.QUEUED, wait.code, wait.text, not_before=wait.until)
    except kinds.HandOver as over:
        return Outcome(State.QUEUED, handed=over)
    except AgentError as error:
        # A cancelled flow may end with whatever its closed connection raised: the cancel is the cause.
        return outcome_of(Cancelled("The run was cancelled.") if lease.is_cancelled else error)
    except BaseException as error:
        log.exception("Run %s ended with a fault.", run.number)
        return outcome_of_bug(error)
    if ended.state.is_good:
        return Outcome(ended.state)
    if ended.state == State.FAILED and ended.error is not None:
        return outcome_of(ended.error)
    return outcome_of_bug(ValueError(f"The kind {run.kind} ended as {ended!r}."))


def finish(run: Run, lease: Lease, recorder: Recorder, outcome: Outcome) -> None:
    """Store the rest of the progress and close the run, unless somebody else holds it now."""
    if lease.is_lost:
        log.warning("Run %s is somebody else's now; what this worker knew is not written.", run.number)
        return
    try:
        with_patience(recorder.close)
        if outcome.not_before is not None:
            with_patience(lambda: put_off(lease.rows(), outcome))
            return
        if (handed := outcome.handed) is not None:
            with_patience(lambda: hand_over(lease.rows(), handed))
            return
        close_with_results(run, lease, outcome)
    except LeaseLost:
        log.warning("Run %s was ended by somebody else while this worker closed it.", run.number)


def close_with_results(run: Run, lease: Lease, outcome: Outcome) -> None:
    """Close the run with the results of its kind; without them, as errored, when they cannot be written."""
    try:
        with_patience(lambda: close(lease.rows(), outcome, lease.callbacks))
    except (LeaseLost, *AWAY):
        raise
    except Exception as error:
        log.exception("Run %s: its results could not be written.", run.number)
        bug = outcome_of_bug(error)
        with_patience(lambda: close(lease.rows(), bug))


def with_patience(write: Callable[[], object]) -> None:
    """Call `write` until the database takes it, for as long as a lease lasts. Then raise its error:
    the sweep ends the run."""
    give_up = time.monotonic() + LEASE.total_seconds()
    while True:
        try:
            write()
            return
        except AWAY as error:
            if time.monotonic() > give_up:
                raise
            log.warning("The database refuses the end of a run, trying again: %s", error)
            # A server that was restarted needs a new connection.
            connection.close_if_unusable_or_obsolete()
            time.sleep(1)


@contextmanager
def keep(lease: Lease, recorder: Recorder) -> Iterator[None]:
    """Renew the lease and store progress in a thread of its own while the body works.

    One thread for both: it holds the only other database connection of a work horse.
    """
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(lease, recorder, done), name="lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()


def _keep(lease: Lease, recorder: Recorder, done: threading.Event) -> None:
    renew_at = time.monotonic() + RENEW_S
    try:
        while not done.wait(FLUSH_S) and not lease.is_lost:
            try:
                if time.monotonic() >= renew_at:
                    lease.renew()
                    renew_at = time.monotonic() + RENEW_S
                else:
                    # Who presses Cancel waits for it: a lease's pace is too slow for that.
                    lease.look_for_cancel()
                recorder.flush()
            except LeaseLost:
                lease.mark_lost()
            except (DatabaseError, InterfaceError) as error:
                # The lease ends by itself when this goes on; progress stays in the buffer meanwhile.
                log.warning("The database refuses the progress of a run, trying again: %s", error)
                connection.close_if_unusable_or_obsolete()
    finally:
        connections.close_all()
