"""The run that removes from a repository what is due to go: by explicit ids, its second copy first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from agents import maintenance
from agents.errors import AgentError, Cancelled, LeaseLost, PlanRefused
from agents.events import Level, Said, Tell
from agents.maintenance import PruneRequest
from backupsite.accounts import audit
from backupsite.engine import console_restic
from backupsite.recovery import retiring, retiring_clock, retiring_logs
from backupsite.recovery.maintenance import repository_of
from backupsite.recovery.maintenance_keeping import forget_old_runs, list_known
from backupsite.recovery.models import PointCopy, RestorePoint
from backupsite.recovery.newest import find_newest
from backupsite.recovery.places import place_of
from backupsite.recovery.retiring_holds import is_held
from backupsite.repositories.making import measure_repository
from backupsite.repositories.models import Repository
from backupsite.repositories.presence import why_not_there
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from backupsite.web.formatting import format_bytes, format_count

# A snapshot of a run of ours that failed may go after this time. Nobody else's ever does by itself.
STRAYS_REST = timedelta(days=7)
OURS = (State.FAILED, State.CANCELLED, State.ERRORED)
COPY_EVERY = timedelta(days=30)


def ask_prune(repository: Repository, *, requested_by: str) -> Run:
    """Ask for a run that removes what is due to go."""
    request = {"repository": str(repository.uuid)}
    return request_run(Run.PRUNE, repository.owner, request=request, requested_by=requested_by)


class Prune:
    """Forgets what the catalogue says may go, and gives its space back."""

    name = Run.PRUNE
    queue: QueueName = "bulk"
    may_retry = True

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        repository = repository_of(run)
        if repository.damage:
            raise PlanRefused(
                "The repository is damaged: nothing is removed from it.",
                remedy="Repair it first. What looks as if nobody needed it may be what a repair is made of.",
            )
        if repository.copy_of_id is not None:
            raise PlanRefused("What may go from a second copy goes with the first.")
        # The second copy is next: with the first one lost, it is all that there is.
        if why_not := why_not_there(repository):
            raise PlanRefused(f"Nothing is removed from any copy. {why_not}")
        now = timezone.now()
        points = retiring.due_for_forgetting(repository, now)
        is_good = self._prune_copy(repository, points, now, tell, control)
        given_back = self._prune(run, repository, points, now, tell, control)
        tell(
            Said(
                f"{format_count(len(points))} restore points are gone; {format_bytes(given_back)} came back."
            )
        )

        def note() -> None:
            Repository.objects.filter(pk=repository.pk).update(pruned_at=now)
            forget_old_runs(run)

        control.in_transaction(note)
        return Ended(State.SUCCEEDED if is_good else State.WARNINGS)

    def _prune(
        self,
        run: Run,
        repository: Repository,
        points: Sequence[RestorePoint],
        now: datetime,
        tell: Tell,
        control: Control,
    ) -> int:
        batches = retiring_logs.logs_due(repository, now)
        strays = find_our_strays(repository, now)
        ids = [
            *(retiring.forgettable(points) if points else []),
            *(batch.restic_id for batch in batches),
            *strays,
        ]
        for stray in strays:
            tell(Said(f"{stray} is of a run that failed, no restore point: it goes too.", Level.INFO))

        def forgotten() -> None:
            control.raise_if_stopped()
            if points:
                retiring.forgotten(points)
            if batches:
                retiring_logs.logs_forgotten(batches)
            if ids:
                detail = {
                    "run": run.number,
                    "points": len(points),
                    "logs": len(batches),
                    "strays": len(strays),
                }
                audit.record(run.requested_by, "forget-restore-points", run.device.name, detail)

        given_back = maintenance.prune(
            self._request(repository, ids), tell=tell, control=control, forgotten=forgotten
        )
        measure_repository(repository)
        return given_back

    def _prune_copy(
        self,
        repository: Repository,
        points: Sequence[RestorePoint],
        now: datetime,
        tell: Tell,
        control: Control,
    ) -> bool:
        """Remove from the second copy what goes from the first, and what it was to keep no longer. Return
        False when it cannot be reached: what is left there is found as snapshots of no restore point."""
        target = (
            Repository.objects.filter(copy_of=repository)
            .exclude(restic_id="")
            .select_related("storage")
            .first()
        )
        if target is None:
            return True
        going = find_going(target, points, now)
        ids = forgettable_copies(target, going)
        is_time = target.pruned_at is None or target.pruned_at < now - COPY_EVERY
        if target.damage or not (ids or is_time):
            return True

        def forgotten() -> None:
            control.raise_if_stopped()
            PointCopy.objects.filter(pk__in=[copy.pk for copy in going]).delete()

        try:
            maintenance.prune(self._request(target, ids), tell=tell, control=control, forgotten=forgotten)
            measure_repository(target)
        except (Cancelled, LeaseLost):
            raise
        except (AgentError, OSError) as error:
            tell(Said(f"Nothing was removed from the second copy: {error}", Level.WARNING))
            return False
        Repository.objects.filter(pk=target.pk).update(pruned_at=now)
        return True

    def _request(self, repository: Repository, ids: Sequence[str]) -> PruneRequest:
        moves_data = not repository.storage.reading_costs
        return PruneRequest(place_of(repository), console_restic(), ids, moves_data=moves_data)


def find_going(target: Repository, points: Sequence[RestorePoint], now: datetime) -> list[PointCopy]:
    """Return the copies in a second copy that go now: of these restore points, and those older than their
    policy keeps them there.

    The newest of what is left of each source stays (`find_newest`), and whatever is held, protected, or
    damaged in the first repository."""
    gone = {point.pk for point in points}
    copies = list(PointCopy.objects.filter(repository=target).select_related("point__policy"))
    newest = find_newest(copy.point for copy in copies if copy.point_id not in gone)
    may_expire = retiring_clock.is_trusted(now) and not is_held(target.owner.pk)
    return [
        copy
        for copy in copies
        if copy.point_id in gone
        or (may_expire and copy.point_id not in newest and _is_expired(copy.point, now))
    ]


def _is_expired(point: RestorePoint, now: datetime) -> bool:
    keep = point.policy.copy_keep if point.policy is not None else None
    is_pinned = point.is_protected or (point.held_until is not None and point.held_until > now)
    return keep is not None and point.made_at < now - keep and not point.damage and not is_pinned


def forgettable_copies(target: Repository, going: Sequence[PointCopy]) -> list[str]:
    """Return the snapshots of a second copy that no copy needs but those that go."""
    leaving = {copy.pk for copy in going}
    others = PointCopy.objects.filter(repository=target).values_list("pk", "restic_id")
    needed = {restic_id for pk, restic_id in others if pk not in leaving}
    return sorted({copy.restic_id for copy in going} - needed)


def find_our_strays(repository: Repository, now: datetime) -> list[str]:
    """Return the snapshots that runs of ours left which failed, and which a check has seen for some time.

    Whatever names no run of this console, or one that may have made a restore point, is only reported: after
    a lost console came back from an older copy, it may be all that there is."""
    if not retiring_clock.is_trusted(now) or is_held(repository.owner.pk):
        return []
    known = list_known(repository)
    rows = repository.reading.get("strays", [])
    old = [(row[0], row[3]) for row in rows if datetime.fromisoformat(row[1]) < now - STRAYS_REST]
    runs = {run_id for _, tags in old if (run_id := _run_of(tags)) is not None}
    ended = Run.objects.filter(pk__in=runs, state__in=OURS, device=repository.owner)
    ours = set(ended.exclude(restore_points__isnull=False).values_list("pk", flat=True))
    return sorted(each for each, tags in old if _run_of(tags) in ours and each not in known)


def _run_of(tags: Sequence[str]) -> UUID | None:
    for tag in tags:
        word, _, value = tag.partition("=")
        if word in ("run", "warm"):
            try:
                return UUID(value)
            except ValueError:
                return None
    return None
