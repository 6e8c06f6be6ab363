"""Workers: RQ's fork worker made safe for work that lasts hours and owns things on other machines.

A *worker* waits for jobs of one queue; a *work horse* is the process that it forks for one job; a *pool*
keeps a number of workers alive. What differs from RQ:

- No scheduler, no pub/sub commands, no registries: the database is the record, Redis only wakes workers up.
- The end of a parent, however it comes, reaches its children as SIGTERM (PR_SET_PDEATHSIG).
- SIGTERM reaches a work horse as an exception, so that it undoes its steps on the device; then SIGKILL.
- Redis may vanish while a run works: the worker stays and the run ends as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing import get_context
from types import FrameType, MappingProxyType
from typing import Any, ClassVar

from django.db import connections
from redis.exceptions import RedisError
from rq.exceptions import StopRequested
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.utils import now
from rq.worker import Worker
from rq.worker_pool import WorkerData, WorkerPool
from rq.worker_registration import clean_worker_registry

from backupsite.alerts import notices
from backupsite.processes import die_with_parent
from backupsite.runs import afterwork, chores, execute, lease, queue

log = logging.getLogger(__name__)


def send_notices() -> None:
    """Send what is unsent; done here because only workers can open the targets' addresses."""
    notices.send_due()


# Time for the undo over SSH after SIGTERM; the lease is renewed meanwhile. With the sweep of one that had to
# be killed, everything is clean and final within 60 s. `serve` waits for longer than this.
GRACE_S = 40.0


class WorkerJob(queue.RunJob):
    """A job as the worker sees it: these functions and no others."""

    functions: ClassVar[Mapping[str, Callable[..., None]]] = MappingProxyType(
        {
            queue.RUN: afterwork.execute_next,
            queue.NOTICES: send_notices,
            queue.AFTERWORK: afterwork.execute_afterwork,
            queue.CHORE: chores.execute_chore,
        }
    )


class WorkerQueue(queue.RunQueue):
    """A queue whose jobs can be executed, and which survives whatever lies in it."""

    forced_job_class = WorkerJob

    @classmethod
    def dequeue_any(cls, *args: Any, **kwargs: Any) -> Any:
        """Return the next job and its queue, as RQ does; throw away an entry that is no job's id."""
        while True:
            try:
                return super().dequeue_any(*args, **kwargs)
            except (UnicodeDecodeError, ValueError, TypeError) as error:
                log.error("An entry of the queue was refused: %s", error)


class RunWorker(Worker):
    """One worker for one queue."""

    job_class = WorkerJob
    queue_class: type[Queue] = WorkerQueue

    def __init__(self, queues: Any, **given: Any) -> None:
        given |= {"job_class": WorkerJob, "queue_class": WorkerQueue, "serializer": JSONSerializer}
        super().__init__(queues, worker_ttl=60, maintenance_interval=60, log_job_description=False, **given)
        self._kill_at: float | None = None

    def subscribe(self) -> None:
        """Listen to no commands: anybody who reaches Redis could send them."""

    def run_maintenance_tasks(self) -> None:
        """Forget what RQ remembers of dead workers and their jobs; the sweep looks after the runs."""
        for mine in self.queues:
            clean_worker_registry(mine)
            # A job in here was taken by a worker, living or dead. Its run is in the database either way.
            self.connection.delete(mine.intermediate_queue_key)
            _forget_started(mine)
        self.last_cleaned_at: Any = now()

    # Ending.

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """End soon: at once when idle; else when the work horse has undone its steps or its grace is over."""
        self._stop_requested = True
        if self._horse_pid:
            self._stop_horse()
        elif self.get_state() != "busy":
            raise StopRequested

    def _stop_horse(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + GRACE_S
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._horse_pid, signal.SIGTERM)

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the work horse's whole group. Its id is the horse's own: RQ asks getpgid(0) once the horse is
        gone, which is our group, and kills the pool."""
        if self._horse_pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._horse_pid, sig)

    # One job.

    def fork_work_horse(self, job: Any, queue: Any) -> None:
        """Fork with signals held back until the horse has its own handlers."""
        # A connection to the database must not be shared with the child.
        connections.close_all()
        parent = os.getpid()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        try:
            child = os.fork()
            if child == 0:
                self._run_horse(job, queue, parent, held)
            # Also set by the child; whoever is first, nobody signals a group that does not exist yet.
            with contextlib.suppress(OSError):
                os.setpgid(child, child)
            self._horse_pid = child
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def _run_horse(self, job: Any, queue: Any, parent: int, held: set[signal.Signals | int]) -> None:
        """The whole life of a work horse. Never returns."""
        try:
            os.setpgrp()
            self._horse_pid = 0
            threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
            self.setup_work_horse_signals()
            die_with_parent(parent, signal.SIGTERM)
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            self.main_work_horse(job, queue)
        finally:
            os._exit(1)

    def setup_work_horse_signals(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: execute.stopper.ask())

    def wait_for_horse(self) -> Any:
        """Wait for the work horse's end and kill it when its grace is over. Interrupted by RQ's alarm."""
        try:
            descriptor = os.pidfd_open(self._horse_pid)
        except ProcessLookupError:
            # RQ's alarm came in the moment after it was reaped: its status is lost, its end is not.
            return None, None, None
        try:
            while not select.select([descriptor], [], [], 1.0)[0]:
                if self._stop_requested:
                    self._stop_horse()
                if self._kill_at is not None and time.monotonic() >= self._kill_at:
                    log.error("A work horse did not end within %.0f s and is killed.", GRACE_S)
                    self.kill_horse()
        finally:
            os.close(descriptor)
        ended = os.wait4(self._horse_pid, 0)
        self._kill_at = None
        return ended

    def monitor_work_horse(self, job: Any, queue: Any, execution: Any) -> None:
        """Wait for the horse. Redis may be away when it ends: the run is closed in the database already."""
        try:
            super().monitor_work_horse(job, queue, execution)
        except RedisError as error:
            log.warning("Redis did not learn of the end of a job: %s", error)
            self.executions.clear()

    def maintain_heartbeats(self, job: Any, execution: Any) -> None:
        with _without_redis():
            super().maintain_heartbeats(job, execution)

    def handle_work_horse_killed(self, job: Any, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """The horse died without closing its run: let the lease end now, so that the sweep need not wait."""
        log.error("A work horse died: job %s, wait status %s", job.id, ret_val)
        # What it had started may have outlived it. The group cannot be anybody else's while one of it lives.
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.killpg(retpid, signal.SIGKILL)
        try:
            lease.expire(lease.name_worker(retpid))
        finally:
            connections.close_all()

    def handle_job_failure(self, job: Any, queue: Any, *_: Any, execution: Any = None, **__: Any) -> None:
        """Keep nothing of a failed job in Redis: what went wrong with a run is in the database."""
        with _without_redis(), self.connection.pipeline() as pipeline:
            self.cleanup_execution(job, pipeline=pipeline, execution=execution)
            pipeline.delete(job.key)
            pipeline.execute()


class RunPool(WorkerPool):
    """Keeps `count` workers of one queue alive; ends them in order."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(
            [queue.name_in_redis(name)], connection=queue.connect(is_worker=True), num_workers=count,
            worker_class=RunWorker, job_class=WorkerJob, queue_class=WorkerQueue,
        )  # fmt: skip

    def get_worker_process(self, name: str, burst: bool, *_: Any, **__: Any) -> Any:
        return get_context("fork").Process(
            target=_run_worker, args=(name, self._queue_names, burst, os.getpid()), name=f"worker {name}"
        )

    def start_worker(self, *args: Any, **kwargs: Any) -> None:
        """Start one with signals held back: until it has its own handlers and stands among the workers, a
        request to stop would not reach it."""
        connections.close_all()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        try:
            super().start_worker(*args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def reap_workers(self) -> None:
        """Drop the dead ones, without RQ's 0.1 s of waiting for each that lives."""
        for data in list(self.worker_dict.values()):
            if not data.process.is_alive():
                self.handle_dead_worker(data)

    def stop_worker(self, worker_data: WorkerData, sig: signal.Signals = signal.SIGTERM) -> None:
        super().stop_worker(worker_data, sig)


def _run_worker(name: str, queue_names: list[str], burst: bool, parent: int) -> None:
    """The life of one worker process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})  # held by who forked
    die_with_parent(parent, signal.SIGTERM)
    connection = queue.connect(is_worker=True)
    while True:
        try:
            connection.ping()
            break
        except RedisError as error:
            log.warning("A worker waits for Redis: %s", error)
            time.sleep(2)
    worker = RunWorker(queue_names, name=name, connection=connection)
    worker.work(burst=burst, with_scheduler=False, logging_level="WARNING")


def _end_with_parent(parent: int) -> None:
    """End a work horse whose worker died and which SIGTERM did not end: stuck in C it sees no signal."""
    while os.getppid() == parent:
        time.sleep(1)
    time.sleep(GRACE_S)
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _forget_started(mine: Any) -> None:
    """Delete the jobs whose worker sent no heartbeat for long. No job is read: it may be unreadable."""
    registry = mine.started_job_registry
    dead = mine.connection.zrangebyscore(registry.key, 0, time.time())
    for entry in dead:
        job_id = entry.partition(b":")[0]
        mine.connection.delete(b"rq:job:" + job_id, b"rq:executions:" + job_id)
        mine.connection.zrem(registry.key, entry)


@contextlib.contextmanager
def _without_redis() -> Any:
    try:
        yield
    except RedisError as error:
        log.warning("Redis does not answer, the run goes on: %s", error)
