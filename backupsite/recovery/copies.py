"""Second copies: which restore points they hold by policy, the run that makes them, and whose turn it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from agents.errors import PlanRefused
from agents.events import Phase, Said, Tell
from agents.flow import phase
from agents.maintaining.copying import copy_snapshots, named_as_source
from agents.maintaining.copying_progress import Arrivals
from agents.repositories import open_place
from agents.restic.repository import create, open_repository
from backupsite.engine import console_restic
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.recovery.maintenance import repository_of
from backupsite.recovery.maintenance_due import AGAIN, count_room, free
from backupsite.recovery.maintenance_keeping import forget_old_runs
from backupsite.recovery.metering import Metering
from backupsite.recovery.models import PointCopy, RestorePoint
from backupsite.recovery.newest import find_newest
from backupsite.recovery.places import place_of, read_id
from backupsite.repositories.making import ensure_copy, measure_repository, recovery_password
from backupsite.repositories.making import open_repository as open_keys
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.nodes import may_copy
from backupsite.repositories.reading import list_closed
from backupsite.runs import tick
from backupsite.runs.due import SCHEDULE
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from backupsite.web.formatting import format_count
from backupsite.web.visible import make_visible

log = logging.getLogger(__name__)

COPY_ELSEWHERE = "Choose a storage on the same node for it in the policy, or an object store."


def list_wanted(repository: Repository, now: datetime) -> list[RestorePoint]:
    """Return the restore points of a repository that policies want in the second copy, oldest first: those of
    the last `copy_keep`, and the newest of each source, however old (`find_newest`). What is damaged or was
    removed is not copied. Runs two queries."""
    points = RestorePoint.objects.filter(
        repository=repository, policy__copy_storage__isnull=False, damage="", resting_since=None
    )
    listed = list(points.order_by("made_at", "source", "part"))
    newest = find_newest(listed)
    keeps = dict(Policy.objects.filter(copy_storage__isnull=False).values_list("pk", "copy_keep"))
    return [
        point
        for point in listed
        if (keep := keeps.get(point.policy_id or 0)) is None
        or point.made_at >= now - keep
        or point.pk in newest
    ]


def storage_for(repository: Repository) -> Storage | None:
    """Return where the second copy of a repository goes: where it lies already, as long as a policy of its
    device or of a restore point wants it; else what a policy of its device says. None: nobody wants one."""
    wanting = Policy.objects.filter(copy_storage__isnull=False)
    of_device = (
        wanting.filter(devices=repository.device).select_related("copy_storage").order_by("pk").first()
    )
    existing = Repository.objects.filter(copy_of=repository).select_related("storage").first()
    if existing is None:
        return of_device.copy_storage if of_device is not None else None
    # Who left its policy, out of service or not, has restore points that are to be copied still.
    points = RestorePoint.objects.filter(repository=repository, policy__in=wanting)
    return existing.storage if of_device is not None or points.exists() else None


def ask_copy(repository: Repository, *, requested_by: str) -> Run:
    """Ask for a run that makes the second copy of a repository complete."""
    request = {"repository": str(repository.uuid)}
    return request_run(Run.COPY, repository.owner, request=request, requested_by=requested_by)


def why_not_copied(repository: Repository, storage: Storage) -> str:
    """Return why a repository can have no second copy on a storage, in a sentence; "" when it can."""
    if may_copy(repository.storage, storage):
        return ""
    return (
        f"{make_visible(storage.name)} lies on the node {make_visible(storage.node.name)}, and this "
        f"repository on {make_visible(repository.storage.node.name)}: no machine reaches both."
    )


@dataclass(frozen=True)
class Ends:
    """The two repositories of a copy, each with the limits of its storage."""

    reading: Metering
    writing: Metering
    target: Repository


class Copy:
    """Copies what the second copy of a repository lacks."""

    name = Run.COPY
    queue: QueueName = "bulk"
    may_retry = True

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        began = timezone.now()
        repository = repository_of(run)
        storage = storage_for(repository)
        if storage is None:
            raise PlanRefused("No policy of this device wants a second copy any more.")
        if storage.pk == repository.storage_id:
            raise PlanRefused(
                "The second copy would lie on the same storage as the first.",
                remedy="Choose another storage for it in the policy: one disk that fails takes both.",
            )
        if why_not := why_not_copied(repository, storage):
            raise PlanRefused(why_not, remedy=COPY_ELSEWHERE)
        with Metering(repository, run) as reading:
            reading.require_open()
            with phase(tell, Phase.CHECK):
                wanted = list_wanted(repository, began)
                target = make_copy(repository, storage, tell)
            with Metering(target, run) as writing:
                left = self._copy(wanted, Ends(reading, writing, target), tell, control)
        measure_repository(target)
        count = len(wanted) - left
        tell(Said(f"{format_count(count)} restore points are in the second copy, each read back there."))

        def note() -> None:
            if not left:
                Repository.objects.filter(pk=target.pk).update(copied_at=began)
            forget_old_runs(run)

        control.in_transaction(note)
        return Ended(State.SUCCEEDED)

    def _copy(self, wanted: Sequence[RestorePoint], ends: Ends, tell: Tell, control: Control) -> int:
        """Copy what is missing and write it down as it comes: what one run did, the next need not do. Return
        how many are left, because no more is to be read now; what restic began it ends, so as not to read
        it twice."""
        target = ends.target
        copied = set(PointCopy.objects.filter(repository=target).values_list("point_id", flat=True))
        missing = [point for point in wanted if point.pk not in copied]
        if not missing:
            return 0
        binary, ids = console_restic(), list(dict.fromkeys(point.restic_id for point in missing))
        place = ends.writing.place()
        with (
            phase(tell, Phase.TRANSFER),
            open_place(ends.reading.place(), binary, tell) as source,
            open_place(place, binary, tell) as there,
        ):
            there.unlock()
            arrivals = Arrivals(place.path)
            arrived: set[str] = set()
            for done in copy_snapshots(source, there, ids, tell=tell, control=control, arrivals=arrivals):
                control.raise_if_stopped()
                keep_copies(target, missing, done)
                arrived |= done.keys()
                left = [point for point in missing if point.restic_id not in arrived]
                if left and (why := ends.reading.find_end()):
                    tell(Said(f"{format_count(len(left))} follow later: {why}."))
                    return len(left)
        return 0


def keep_copies(target: Repository, points: Sequence[RestorePoint], done: dict[str, str]) -> None:
    """Write down which restore points are in the second copy now. May be told twice."""
    now = timezone.now()
    ids = [point.pk for point in points if point.restic_id in done]
    existing = set(RestorePoint.objects.filter(pk__in=ids).values_list("pk", flat=True))
    PointCopy.objects.bulk_create(
        [
            PointCopy(point=point, repository=target, restic_id=done[point.restic_id], copied_at=now)
            for point in points
            if point.pk in existing
        ],
        ignore_conflicts=True,
    )


def make_copy(repository: Repository, storage: Storage, tell: Tell) -> Repository:
    """Return the second copy of a repository; the first time, make it with both keys, cutting files as the
    first one does."""
    target = ensure_copy(repository, storage)
    opened = open_keys(target)
    if not target.is_made and not opened.is_there():
        tell(Said("This is the first second copy of the device: its repository is made."))
        place, binary = place_of(repository), console_restic()
        with (
            open_repository(place.location, place.password, binary) as source,
            named_as_source(source) as like,
        ):
            create(opened.location, opened.password, recovery_password(), binary, like)
    if not target.is_made:
        Repository.objects.filter(pk=target.pk).update(restic_id=read_id(opened))
        target.refresh_from_db()
    return target


def look(now: datetime) -> None:
    """A step of the tick: once a minute, ask for what is missing."""
    if now.second < tick.PACE_S and Policy.objects.filter(copy_storage__isnull=False).exists():
        start_copies(now)


def start_copies(now: datetime) -> int:
    """Ask for the second copies that lack a restore point; return how many. A copy that failed waits."""
    chosen = list_lacking(now)[: count_room(Run.COPY, now)]
    for repository in chosen:
        run = ask_copy(repository, requested_by=SCHEDULE)
        log.info("Run %d: the second copy of %s.", run.number, repository.uuid)
    return len(chosen)


def list_lacking(now: datetime) -> Any:
    """Return the free repositories with a restore point that is newer than their second copy."""
    wanted = RestorePoint.objects.filter(
        device=OuterRef("device"), repository=OuterRef("pk"), policy__copy_storage__isnull=False, damage="",
        resting_since=None,
    )  # fmt: skip
    # Where nobody reaches both storages nothing is asked for again and again: their pages say why.
    is_reached = ~Q(policy__copy_storage__kind=Storage.DIRECTORY) | Q(
        policy__copy_storage__node=OuterRef("storage__node")
    )
    asked = PolicyDevice.objects.filter(
        is_reached, device=OuterRef("device"), policy__copy_storage__isnull=False
    )
    copied_at = "repository__second_copy__copied_at"
    newer = wanted.filter(Q(**{copied_at: None}) | Q(made_at__gt=F(copied_at)))
    recent = Run.objects.filter(kind=Run.COPY, device=OuterRef("device"), ended_at__gt=now - AGAIN).exclude(
        state=State.SUCCEEDED
    )
    # One that there is goes on without the device's policy: who left it has what is to be copied still.
    goes_on = Q(second_copy__isnull=False) & (
        ~Q(second_copy__storage__kind=Storage.DIRECTORY) | Q(second_copy__storage__node=F("storage__node"))
    )
    found = free(now).filter(Exists(asked) | goes_on, Exists(newer), copy_of=None).exclude(Exists(recent))
    found = found.exclude(storage__in=list_closed(now))
    return found.select_related("device", "copy_of__device").order_by("pk")
