"""The clock of the console: one tick every ten seconds, by whichever process holds the tick's lease."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Q
from django.utils import timezone
from redis.exceptions import RedisError

from backupsite.alerts.models import Delivery
from backupsite.processes import StopRequest
from backupsite.runs import breaker, due, queue, sweep
from backupsite.runs.models import TickLease

log = logging.getLogger(__name__)

Step = Callable[[datetime], object]

NAME = "tick"
PACE_S = 10.0
# A tick that takes longer than this may meet another one; every step of it is claimed by itself anyway. A
# console that lost its power waits for this after its next start, before it ends the runs that were lost.
LEASE = timedelta(seconds=30)


def name_holder() -> str:
    """Return how this process is named in the lease."""
    return f"{socket.gethostname()[:48]}:{os.getpid()}"


def run() -> None:
    """Tick until SIGTERM or SIGINT. An error of one tick is logged; the next one tries again."""
    stop = StopRequest()
    holder = name_holder()
    while not stop.is_made:
        try:
            tick(holder)
        except (DatabaseError, InterfaceError):
            log.exception("The database refused a tick; the next one is in %.0f s.", PACE_S)
            connection.close_if_unusable_or_obsolete()
        stop.wait(PACE_S)
    release(holder)


def tick(holder: str) -> bool:
    """Do everything that is due. Return False when another process holds the tick's lease."""
    now = timezone.now()
    if not take(holder):
        return False
    for step in STEPS:
        try:
            step(now)
        except Exception:
            # What one step cannot do must not keep the others from their work. The next tick tries again.
            log.exception("A step of the tick failed: %s", step.__name__)
            connection.close_if_unusable_or_obsolete()
    TickLease.objects.filter(name=NAME, holder=holder).update(ticked_at=timezone.now())
    return True


def send_notices(now: datetime) -> None:
    """Wake a worker for the notices whose time has come."""
    if not Delivery.objects.filter(next_at__lte=now).exists():
        return
    try:
        queue.enqueue_notices()
    except RedisError as error:
        log.warning("Notices wait until Redis answers: %s", error)


# What was lost comes first: a device may be waiting for it.
STEPS: list[Step] = [
    sweep.look_for_lost,
    due.start_due,
    breaker.look,
    sweep.wake_queued,
    due.tell_overdue,
    send_notices,
    sweep.thin_old,
]


def add_step(step: Step) -> None:
    """Have every tick do this too, last. For apps above this one, in their AppConfig.ready."""
    if step not in STEPS:
        STEPS.append(step)


def take(holder: str) -> bool:
    """Take or extend the lease. The conditional UPDATE decides between two that try at once."""
    now = timezone.now()
    TickLease.objects.get_or_create(name=NAME)
    free = Q(until=None) | Q(until__lt=now) | Q(holder=holder)
    return bool(TickLease.objects.filter(free, name=NAME).update(holder=holder, until=now + LEASE))


def release(holder: str) -> None:
    """Give the lease back, so that another process need not wait for its end."""
    TickLease.objects.filter(name=NAME, holder=holder).update(until=None)
