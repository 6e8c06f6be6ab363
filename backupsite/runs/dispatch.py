"""Whose turn it is: a worker that wakes up takes the first run, by its place, that may work now.

1. One worker at a time looks and claims (a lock in the database): limits hold exactly, not about.
2. What may not work now is left out by the same query, it is not put back: nothing is asked again and again.
3. Whoever ends a run wakes another worker when there is more to do; the tick wakes who waits for a time.

Limits hold back what nobody waits for. Interactive work waits for its device alone, and counts.
"""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.repositories import nodes
from backupsite.repositories.models import Repository
from backupsite.runs import kinds, outages, queue
from backupsite.runs.lease import Lease, claim, waits_for_cold
from backupsite.runs.models import Counter, Run
from backupsite.runs.standing import ALONE_ON_DEVICE, Standing, read_standing
from backupsite.runs.states import State

TURN = "turn"


def take_next(name: kinds.QueueName) -> Lease | None:
    """Claim the run of this queue whose turn it is for this process. Return None when none may work now."""
    with transaction.atomic():
        lock_turn()
        if not nodes.is_known():
            return None
        now = timezone.now()
        standing = read_standing()
        run = _find_try(name, standing, now)
        if run is not None:
            outages.note_try(run, standing.outages, now)
        else:
            run = list_ready(name, standing, now).order_by("place", "number").only("pk").first()
        return None if run is None else claim(Run.objects.all(), run.pk)


def wake_others() -> None:
    """Wake a worker of each queue in which a run may work now and no wake-up lies. Never raises for Redis."""
    now, standing = timezone.now(), read_standing()
    for name, node in _list_queues(standing):
        if count_ready(name, standing, now, node, most=1):
            queue.wake_up_to(name, 1, node)


def wake_ready(now: datetime) -> int:
    """Wake as many workers of each queue as there are runs that may work now; return how many. Their time has
    come, or Redis lost their wake-up."""
    standing = read_standing()
    count = 0
    for name, node in _list_queues(standing):
        ready = count_ready(name, standing, now, node, most=queue.MOST_WAKES)
        count += queue.wake_up_to(name, ready, node) if ready else 0
    return count


def _list_queues(standing: Standing) -> list[tuple[kinds.QueueName, str]]:
    slugs = [nodes.CONSOLE, *(node.slug for node in standing.others)]
    return [(name, slug) for slug in slugs for name in queue.NAMES]


def count_ready(name: kinds.QueueName, standing: Standing, now: datetime, node: str, *, most: int) -> int:
    """Return how many workers of a node's queue have something to do now, up to about `most`."""
    ready = list_ready(name, standing, now, node)[:most].count()
    return ready + (_find_try(name, standing, now, node) is not None)


def list_waiting(name: kinds.QueueName) -> QuerySet[Run]:
    """Return the queued runs of a queue. An unknown kind is bulk's, where it ends errored."""
    waiting = Run.objects.filter(state=State.QUEUED, ended_at=None)
    interactive = kinds.names_in(queue.INTERACTIVE)
    if name == queue.INTERACTIVE:
        return waiting.filter(kind__in=interactive)
    return waiting.exclude(kind__in=interactive)


def _find_try(
    name: kinds.QueueName, standing: Standing, now: datetime, node: str | None = None
) -> Run | None:
    if name == queue.INTERACTIVE or not standing.outages:
        return None
    return outages.find_try(_list_undisturbed(name, standing, now, node), standing.outages, now)


def list_ready(
    name: kinds.QueueName, standing: Standing, now: datetime, node: str | None = None
) -> QuerySet[Run]:
    """Return the queued runs of a queue of a node (None: of this process's) that may work now."""
    ready = _list_undisturbed(name, standing, now, node)
    if name == queue.INTERACTIVE or not standing.outages:
        return ready
    return ready.exclude(outages.held_by(standing.outages))


def _list_undisturbed(
    name: kinds.QueueName, standing: Standing, now: datetime, node: str | None
) -> QuerySet[Run]:
    """The queued runs that may work now if every device answered."""
    ready = list_waiting(name).filter(Q(not_before=None) | Q(not_before__lte=now))
    ready = _keep_node(ready, standing, node or settings.HOTFLEET_NODE)
    if standing.busy:
        ready = ready.exclude(kind__in=ALONE_ON_DEVICE, device__in=list(standing.busy))
    if standing.has_drill:
        ready = ready.exclude(kind=Run.DRILL)
    if name == queue.INTERACTIVE:
        return ready
    return _leave_out_full(ready, standing).exclude(waits_for_cold(now))


def _keep_node(ready: QuerySet[Run], standing: Standing, node: str) -> QuerySet[Run]:
    """Leave the runs of the devices that a node works for. Nothing is asked where there is but one."""
    if node == nodes.CONSOLE and not standing.others:
        return ready
    placed = ready.alias(by=Coalesce("beside_id", "device_id"))
    if node == nodes.CONSOLE:
        return placed.exclude(by__in=nodes.list_devices(list(standing.others)).values("pk"))
    mine = [other for other in standing.others if other.slug == node]
    return placed.filter(by__in=nodes.list_devices(mine).values("pk"))


def _leave_out_full(ready: QuerySet[Run], standing: Standing) -> QuerySet[Run]:
    if standing.full_storages:
        full = Q(storage__in=list(standing.full_storages))
        second = Q(second_copy__storage__in=list(standing.full_storages))
        ready = ready.exclude(
            device__in=Repository.objects.filter(full, device__isnull=False).values("device")
        )
        ready = ready.exclude(kind=Run.COPY, device__in=Repository.objects.filter(second).values("device"))
    if standing.full_sites:
        tagged = Device.tags.through.objects.filter(tag__in=list(standing.full_sites))
        ready = ready.exclude(device__in=tagged.values("device_id"))
    return ready


def lock_turn() -> None:
    """Until the transaction ends nobody else takes a run. Those of SQLite exclude each other anyway."""
    Counter.objects.get_or_create(name=TURN)
    Counter.objects.select_for_update().get(name=TURN)
