"""Removing restore points: by the rules of their policies, or by a person; always by their ids.

1. What the rules let go rests: it is hidden, not offered, and can be had back until `rests_until`.
2. Then `due_for_forgetting` hands it to the run that removes data from a repository, which calls `forgotten`
   when the repository has forgotten it.
Both steps stand still while the device or the fleet is held, and when the clock is not trusted.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.policies.effective import KEPT, NOTHING, apply
from backupsite.policies.models import Override, Policy
from backupsite.policies.retention import SHORTEST_REST, Rules
from backupsite.recovery import retiring_clock
from backupsite.recovery.index import catching_up
from backupsite.recovery.models import RestorePoint, RetentionHold
from backupsite.recovery.retiring_history import (
    Judged,
    Stored,
    doubts_of,
    find_needed,
    gather,
    judge_device,
    read_points,
)
from backupsite.recovery.retiring_holds import hold, is_held, looked_at
from backupsite.recovery.stored import lock, restate
from backupsite.repositories.models import Repository
from backupsite.runs.models import Run

log = logging.getLogger(__name__)
T = TypeVar("T")

BY_POLICY: Final = "policy"
BATCH: Final = 500
# After each backup a worker looks; the tick, for what only grew older, at each device every six hours.
SLOT_S, SLOTS = 10, 2160


def look(now: datetime) -> None:
    """A step of the tick: retire what may go of the devices whose turn it is."""
    if not retiring_clock.is_trusted(now):
        return
    turn = int(now.timestamp() // SLOT_S) % SLOTS
    due = Device.objects.annotate(turn=F("pk") % SLOTS).filter(turn=turn)
    for device in due.filter(Exists(RestorePoint.objects.filter(device=OuterRef("pk")).order_by())):
        retire(device, now)


def after_run(device: Device, run: Run | None) -> None:
    """Look at a device after its backup: people are to hear of an unusual change before the next one."""
    if run is None or run.kind != Run.BACKUP:
        return
    now = timezone.now()
    if retiring_clock.is_trusted(now):
        retire(device, now)
    else:
        find_anomaly(device, read_stored(device), now)


def read_stored(device: Device) -> list[Stored]:
    """Return the copies of a device that nobody removed. Runs one query."""
    return gather(read_points(device.pk))


def judge(device: Device, stored: Sequence[Stored], now: datetime) -> list[Judged]:
    """Given a device and its copies, return why each stays by its policy. Runs four queries."""
    return judge_device(
        stored,
        read_rules(stored),
        now,
        needed=find_needed(device.pk, stored),
        looked=looked_at(device.pk, now),
    )


def read_rules(stored: Iterable[Stored]) -> dict[int, tuple[Rules, Policy]]:
    """Given copies of one device, return the rules that hold there of the policies that made them. Runs two
    queries."""
    copies = list(stored)
    if not copies:
        return {}
    ids = {copy.first.policy_id for copy in copies}
    policies = Policy.objects.filter(pk__in=[pk for pk in ids if pk is not None])
    own = Override.objects.filter(assignment__device=copies[0].first.device_id, field=KEPT)
    kept = {policy: {KEPT: value} for policy, value in own.values_list("assignment__policy_id", "value")}
    held = [apply(policy, kept.get(policy.pk, NOTHING)) for policy in policies]
    return {policy.pk: (Rules.of(policy), policy) for policy in held}


@transaction.atomic
def retire(device: Device, now: datetime) -> int:
    """Have what may go by the rules rest; return how many restore points. Nothing while the device is held,
    or when its newest copies look wrong: then it is held from now on."""
    lock([device.pk])
    stored = read_stored(device)
    find_anomaly(device, stored, now)
    if is_held(device.pk):
        return 0
    judged = judge(device, stored, now)
    rests = {pk: max(policy.rest, SHORTEST_REST) for pk, (_, policy) in read_rules(stored).items()}
    count = 0
    by_policy: dict[int | None, list[RestorePoint]] = {}
    for each in judged:
        if not each.stays:
            by_policy.setdefault(each.stored.first.policy_id, []).extend(each.stored.points)
    for policy, points in by_policy.items():
        count += put_to_rest(points, BY_POLICY, now, rests.get(policy or 0, SHORTEST_REST))
    if count:
        log.info("%d restore points of %s rest now: the rules of their policies let them go.", count, device)
        restate([device.pk])
    return count


def find_anomaly(device: Device, stored: Iterable[Stored], now: datetime) -> bool:
    """Hold a device when a copy of it looks wrong that nobody looked at; return whether one does."""
    looked = looked_at(device.pk, now)
    histories: dict[object, list[Stored]] = {}
    for copy in stored:
        if not copy.history[-1]:
            histories.setdefault(copy.history, []).append(copy)
    for copies in histories.values():
        for key, said in doubts_of(copies, looked).items():
            copy = next(copy for copy in copies if copy.key == key)
            text = f"{copy.first.source}, copied {copy.first.made_at:%Y-%m-%d %H:%M} UTC: {said}"
            hold(device, RetentionHold.ANOMALY, text, now)
            return True
    return False


def put_to_rest(points: Collection[RestorePoint], why: str, now: datetime, rest: timedelta) -> int:
    """Have these restore points rest, and no others; return how many. What was protected, or held, since they
    were read stays."""
    ids = [point.pk for point in points]
    count = 0
    for start in range(0, len(ids), BATCH):
        chosen = RestorePoint.objects.filter(
            pk__in=ids[start : start + BATCH], resting_since=None, is_protected=False
        ).exclude(held_until__gt=now)
        count += chosen.update(resting_since=now, resting_why=why[:64], rests_until=now + rest)
    return count


def have_back(points: Collection[RestorePoint], now: datetime) -> int:
    """End the rest of restore points; return how many are back. Those whose rest is over may be gone."""
    resting = RestorePoint.objects.filter(pk__in=[point.pk for point in points], rests_until__gt=now)
    return resting.update(resting_since=None, resting_why="", rests_until=None)


def due_for_forgetting(repository: Repository, now: datetime) -> list[RestorePoint]:
    """Given a repository and the server's time, return the restore points whose rest is over: they may be
    forgotten, and nobody can have them back any more. Nothing while the device or the fleet is held, or when
    the tick has not seen the clock within 15 minutes (`retiring_clock`). Runs at most four queries.

    For the run that prunes, which no backup of the device works beside. `forgettable` says which snapshots
    of restic go with them: one may be of several restore points. Call `forgotten` after restic did it."""
    if not retiring_clock.is_trusted(now) or is_held(repository.owner.pk):
        return []
    over = RestorePoint.objects.filter(
        repository=repository, resting_since__isnull=False, rests_until__lte=now, is_protected=False
    ).exclude(held_until__gt=now)
    return list(over.select_related("device").order_by("made_at", "source", "part"))


def forgettable(points: Sequence[RestorePoint]) -> list[str]:
    """Given restore points of one repository that are due, return the ids of restic's snapshots that no other
    restore point needs: what did not change between two backups is one snapshot."""
    going = {point.pk for point in points}
    ids = {point.restic_id for point in points}
    needed: set[str] = set()
    for batch in _batches(sorted(ids)):
        others = RestorePoint.objects.filter(repository=points[0].repository_id, restic_id__in=batch)
        needed |= {restic for pk, restic in others.values_list("pk", "restic_id") if pk not in going}
    return sorted(ids - needed)


def forgotten(points: Sequence[RestorePoint]) -> int:
    """Remove restore points that their repository has forgotten from the catalogue, with everything that was
    known of them; return how many. Only what still rests goes. May be called twice; after it the second copy
    is not known any more: forget that first."""
    devices = sorted({point.device_id for point in points})
    count = 0
    with transaction.atomic():
        lock(devices)
        for batch in _batches([point.pk for point in points]):
            gone = RestorePoint.objects.filter(pk__in=batch, resting_since__isnull=False)
            count += gone.delete()[1].get(RestorePoint._meta.label, 0)
        restate(devices)
    for device in devices:
        catching_up.ask(device)
    return count


def _batches(listed: Sequence[T]) -> Iterable[Sequence[T]]:
    return (listed[start : start + BATCH] for start in range(0, len(listed), BATCH))
