"""Which repositories are due for a check or for the removal of old data. A step of the tick.

Each repository has its own time of the day, by its name, so that the fleet's are spread over it. Nothing is
begun while a backup of its device works, waits, or is due soon; what was not done by then is done after it.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce

from backupsite.policies.models import PolicyDevice
from backupsite.policies.pausing import leave_out_paused
from backupsite.recovery.maintenance import ask_check
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.pruning import ask_prune
from backupsite.repositories.models import Repository
from backupsite.repositories.nodes import list_silent
from backupsite.repositories.reading import list_closed
from backupsite.runs import tick
from backupsite.runs.due import SCHEDULE
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE

log = logging.getLogger(__name__)

DAY = timedelta(days=1)
# A backup that is due within this time goes first.
SOON = timedelta(minutes=10)
# After a check that could not be done, or that gave way, the next one waits so long.
AGAIN = timedelta(minutes=30)
PRUNE_EVERY = timedelta(hours=20)
PRUNE_ANYWAY = timedelta(days=30)
MOST_WAITING = 20


def look(now: datetime) -> None:
    """Once a minute: ask for what is due, few at a time."""
    if now.second < tick.PACE_S:
        start_checks(now)
        start_prunes(now)


def start_checks(now: datetime) -> int:
    """Ask for the checks that are due, those first that wait longest; return how many."""
    room = count_room(Run.CHECK, now)
    if not room:
        return 0
    due = [pk for pk, uuid, done_at in _list_candidates(now) if is_due(uuid, done_at, now)][:room]
    chosen = Repository.objects.filter(pk__in=due).select_related("device", "copy_of__device", "storage")
    for repository in chosen:
        run = ask_check(repository, requested_by=SCHEDULE)
        log.info("Run %d: a check of the repository %s.", run.number, repository.uuid)
    return len(chosen)


def _list_candidates(now: datetime) -> list[tuple[int, UUID, datetime | None]]:
    """Return the repositories that may be due and are free, with when they were checked last. Those with new
    restore points on damage count as never checked: these may need what is damaged."""
    found = free(now).filter(Q(read_at=None) | Q(read_at__lt=now - timedelta(hours=1)))
    found = found.exclude(storage__in=list_closed(now))
    recent = Run.objects.filter(
        kind=Run.CHECK,
        device=OuterRef("owned_by"),
        ended_at__gt=now - AGAIN,
    )
    newer = RestorePoint.objects.filter(
        device=OuterRef("owned_by"), repository=OuterRef("pk"), made_at__gt=OuterRef("read_at")
    )
    # Looked for only where it matters: of most repositories nothing is damaged.
    is_suspect = Case(When(damage="", then=Value(False)), default=Exists(newer))
    rows = found.exclude(Exists(recent)).annotate(is_suspect=is_suspect)
    rows = rows.order_by(F("read_at").asc(nulls_first=True))
    listed = rows.values_list("pk", "uuid", "read_at", "damage", "is_suspect")
    return [(pk, uuid, None if damage and is_suspect else at) for pk, uuid, at, damage, is_suspect in listed]


def start_prunes(now: datetime) -> int:
    """Ask for the removal of what is due to go, once a day at most for each repository; return how many. Once
    a month in any case: runs that were cut off leave data too. A damaged repository is left alone."""
    room = count_room(Run.PRUNE, now)
    over = RestorePoint.objects.filter(
        repository=OuterRef("pk"), resting_since__isnull=False, rests_until__lte=now, is_protected=False
    )
    recent = Run.objects.filter(kind=Run.PRUNE, device=OuterRef("owned_by"), ended_at__gt=now - PRUNE_EVERY)
    month = now - PRUNE_ANYWAY
    is_time = Q(pruned_at__lt=month) | Q(pruned_at=None, created_at__lt=month)
    found = free(now).filter(copy_of=None, damage="").exclude(Exists(recent)).filter(Exists(over) | is_time)
    chosen = found.select_related("device", "copy_of__device").order_by("pk")[:room]
    for repository in chosen:
        run = ask_prune(repository, requested_by=SCHEDULE)
        log.info("Run %d: old data of the repository %s goes.", run.number, repository.uuid)
    return len(chosen)


def count_room(kind: str, now: datetime) -> int:
    """Return how many more runs of a kind may wait. What waits for a silent node keeps no other waiting."""
    waiting = Run.objects.filter(kind=kind, state__in=ACTIVE).exclude(
        device__in=list_silent(now).values("pk")
    )
    return max(MOST_WAITING - waiting.count(), 0)


def free(now: datetime) -> Any:
    """Return the repositories, each with its device as `owned_by`, on which nobody works or is about to, and
    whose node is heard."""
    made = Repository.objects.exclude(restic_id="").annotate(owned_by=Coalesce("device", "copy_of__device"))
    active = Run.objects.filter(
        device=OuterRef("owned_by"),
        state__in=ACTIVE,
        kind__in=[*Run.KINDS_ON_DEVICE, *Run.KINDS_ON_REPOSITORY],
    )
    # What is out of service or paused is due for ever: nobody takes its turn.
    awaited = PolicyDevice.objects.filter(device__retired_at=None, policy__is_enabled=True)
    soon = leave_out_paused(awaited, now).filter(
        Q(next_due__lte=now + SOON) | Q(next_cold_due__lte=now + SOON), device=OuterRef("owned_by")
    )
    found = made.exclude(Exists(active)).exclude(Exists(soon))
    return found.exclude(owned_by__in=list_silent(now).values("pk"))


def is_due(uuid: UUID, done_at: datetime | None, now: datetime) -> bool:
    """Given a repository's name and when it was done last, return whether its time of the day has come since.
    Pure. One that never was is due at once."""
    return done_at is None or done_at < last_turn(uuid, now)


def last_turn(uuid: UUID, now: datetime) -> datetime:
    """Return the last moment at which it was this repository's time of the day (UTC)."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    turn = midnight + timedelta(seconds=uuid.int % 86_400)
    return turn if turn <= now else turn - DAY
