"""The run that makes restore points."""

from __future__ import annotations

from django.conf import settings
from django.utils import timezone

from agents.backup import BackupOutcome, BackupRequest, back_up
from agents.errors import PlanRefused
from agents.events import Level, Said, Tell
from agents.facts.device import to_json
from agents.plan import SourceRequest
from backupsite.engine import console_restic
from backupsite.fleet.sessions import open_session
from backupsite.policies.models import Source
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.places import make_place
from backupsite.recovery.stored import lock, restate
from backupsite.repositories.making import measure_repository
from backupsite.repositories.models import Repository
from backupsite.runs.checking import keep_facts
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.states import State


class Backup:
    """Backs up every source of the run's policy on its device."""

    name = Run.BACKUP
    queue: QueueName = "bulk"
    may_retry = True

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        sources = sources_of(run)
        repository, place = make_place(run.device, tell)
        request = BackupRequest(
            console_id=settings.CONSOLE_ID,
            run_id=run.id.hex,
            device_name=run.device.slug,
            sources=sources,
            place=place,
            binary=console_restic(),
            is_local=run.device.is_local,
        )
        outcome = back_up(request, lambda: open_session(run.device), tell=tell, control=control)
        control.in_transaction(lambda: keep_points(run, repository, outcome))
        is_measured = _measure(repository, tell)
        return Ended(State.SUCCEEDED if outcome.is_complete and is_measured else State.WARNINGS)


def _measure(repository: Repository, tell: Tell) -> bool:
    """Note the size of the repository. The data is safe by now: that it cannot be measured is a warning."""
    try:
        measure_repository(repository)
    except OSError as error:
        tell(Said(f"The size of the repository cannot be measured: {error}", Level.WARNING))
        return False
    return True


def sources_of(run: Run) -> tuple[SourceRequest, ...]:
    """Given a run, return what its policy says now. Raise PlanRefused when there is nothing to protect."""
    sources = Source.objects.filter(policy=run.policy) if run.policy is not None else Source.objects.none()
    wanted = tuple(
        SourceRequest(
            path=source.path,
            excludes=tuple(line.strip() for line in source.excludes.splitlines() if line.strip()),
            mode="hot",
            if_hot_impossible="fail" if source.if_hot_impossible == Source.FAIL else "accept-live",
        )
        for source in sources
    )
    if not wanted:
        raise PlanRefused(
            "The policy of this run is gone or names no source.",
            remedy="Give the device a policy.",
        )
    return wanted


def keep_points(run: Run, repository: Repository, outcome: BackupOutcome) -> None:
    """Write what a backup made into the catalogue, with the server's clock, and keep the device's facts."""
    now = timezone.now()
    lock([run.device_id])
    RestorePoint.objects.bulk_create(
        RestorePoint(
            device=run.device,
            repository=repository,
            policy=run.policy,
            run=run,
            source=point.source,
            restic_id=point.restic_id,
            made_at=now,
            method=point.method,
            consistency=point.consistency,
            is_complete=point.is_complete,
            size_bytes=point.size_bytes,
            file_count=point.file_count,
            stored_bytes=point.stored_bytes,
            problem_count=point.problem_count,
        )
        for point in outcome.points
    )
    restate([run.device_id])
    keep_facts(run.device, to_json(outcome.facts))
