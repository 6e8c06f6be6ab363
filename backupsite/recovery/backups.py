"""The run that makes restore points."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Exists, OuterRef, Subquery, Sum
from django.utils import timezone

from agents.backup import BackupOutcome, BackupRequest, back_up
from agents.binds import NO_LIMITS, Limits
from agents.errors import ConnectFailed, PlanRefused
from agents.events import Consistency, Level, Said, Tell
from agents.facts.device import DeviceFacts
from agents.plan import SourceRequest
from agents.plan.requests import Fallback
from agents.session import Session
from agents.unchanged import KnownPoint
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.fleet.sessions import open_session
from backupsite.policies.effective import on_device
from backupsite.policies.known import read_known_facts
from backupsite.policies.models import Policy, Source
from backupsite.policies.windows import COLD, HOT, WINDOW_LASTS, Window, first_window, is_taken_hot, may_wait
from backupsite.recovery.drill_due import note_backup
from backupsite.recovery.folders import encode_path
from backupsite.recovery.hours import hours_of
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.places import make_place
from backupsite.recovery.seen import keep_instances, read_usual
from backupsite.recovery.stored import lock
from backupsite.repositories.making import measure_repository
from backupsite.repositories.models import Repository
from backupsite.runs.checking import keep_facts
from backupsite.runs.due import SCHEDULE
from backupsite.runs.kinds import Control, Ended, PutOff, QueueName
from backupsite.runs.later import wait_for_device
from backupsite.runs.models import Run
from backupsite.runs.states import State

# A disk that was set back and written again may say what it said before: no proof is believed for longer.
PROVEN_FOR = timedelta(days=7)


class Backup:
    """Backs up every source of the run's policy on its device."""

    name = Run.BACKUP
    queue: QueueName = "bulk"
    may_retry = True

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        if run.device.retired_at is not None:
            raise PlanRefused(
                "The device is out of service.", remedy="Take it into service again in its settings."
            )
        hours = hours_of(run)
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
            known=known_points(run, timezone.now()),
            seen=read_usual(run),
            expected_files=count_files(run.device),
            limits=limits_of(on_device(run.policy, run.device)),
            hours=hours,
        )
        outcome = back_up(request, lambda: _open(run), tell=tell, control=control)
        asked = {source.application for source in sources}
        control.in_transaction(lambda: keep_points(run, repository, outcome, asked))
        is_measured = _measure(repository, tell)
        is_good = outcome.is_complete and is_measured and not lacks_points(outcome)
        return Ended(State.SUCCEEDED if is_good else State.WARNINGS)


def lacks_points(outcome: BackupOutcome) -> bool:
    """Given what a run made, return whether it is not good for want of restore points. What waits for the
    cold window is not stored; a shared source that is with another device now need not be. Pure."""
    return not outcome.points and (not outcome.elsewhere or bool(outcome.waiting))


def _open(run: Run) -> Session:
    """Open a session to the run's device. Raise PutOff when a machine that is not always on is away."""
    try:
        session = open_session(run.device)
    except ConnectFailed as error:
        if run.device.is_always_on or run.requested_by != SCHEDULE:
            raise
        again = wait_for_device(run, timezone.now())
        raise PutOff(again, "away", "its device does not answer, and it is not always on") from error
    Device.objects.filter(pk=run.device_id).update(reached_at=timezone.now())
    return session


def limits_of(policy: Policy | None) -> Limits:
    """Given a run's policy, return what its backups may take from a device. Pure."""
    if policy is None:
        return Limits()
    upload = policy.upload_mb_s * 1_000_000 // 1024 if policy.upload_mb_s else None
    return replace(IMPACTS[policy.impact], upload_kib_s=upload)


# How hard a backup may push. Balanced and fast are for devices that have time for it, such as at night.
IMPACTS = {
    Policy.GENTLE: Limits(),
    Policy.BALANCED: Limits(processors=2, read_concurrency=2, pressure_budget=0.6),
    Policy.FAST: NO_LIMITS,
}


def _measure(repository: Repository, tell: Tell) -> bool:
    """Note the size of the repository. The data is safe by now: that it cannot be measured is a warning."""
    try:
        measure_repository(repository)
    except OSError as error:
        tell(Said(f"The size of the repository cannot be measured: {error}", Level.WARNING))
        return False
    return True


def sources_of(run: Run) -> tuple[SourceRequest, ...]:
    """Given a run, return what its policy says now about its window. Raise PlanRefused when that is nothing.

    Runs at most four queries."""
    sources = list(Source.objects.filter(policy=run.policy)) if run.policy is not None else []
    window = window_of(run, sources)
    if window == COLD:
        _refuse_late(run)
    if window == HOT:
        wanted = [make_request(source, HOT) for source in sources if is_taken_hot(source)]
    else:
        waiting = _find_waiting(run, sources)
        wanted = [
            make_request(source, COLD)
            for source in sources
            if source.mode in (Source.COLD, Source.BOTH) or source.key in waiting
        ]
    if not wanted:
        raise PlanRefused(
            f"The policy of this run is gone or names nothing that is copied {window}.",
            remedy="Give the device a policy.",
        )
    return tuple(wanted)


def _refuse_late(run: Run) -> None:
    """Raise PlanRefused when a cold run of the schedule waited until its window was over: for a worker, for
    its device, or for another attempt. What a person asked for is not refused."""
    first = run
    while first.retry_of is not None:
        first = first.retry_of
    if run.requested_by == SCHEDULE and timezone.now() > first.queued_at + WINDOW_LASTS:
        raise PlanRefused(
            "The cold window was over before this run could begin, so nothing was stopped.",
            remedy="The next window makes up for it, or back up cold by hand.",
        )


def window_of(run: Run, sources: Sequence[Source]) -> Window:
    """Given a run and the sources of its policy, return its window; without a word what a person means."""
    return COLD if run.request.get("window", first_window(sources)) == COLD else HOT


def make_request(source: Source, window: Window) -> SourceRequest:
    """Given a source, return what it asks of a run in this window. Runs no query; saved or not."""
    return SourceRequest(
        path=source.path,
        excludes=_lines(source.excludes),
        mode="cold" if window == COLD else "hot",
        if_hot_impossible=FALLBACKS[source.if_hot_impossible],
        application=source.application,
        instance=source.instance,
        method=source.method,
        command=source.command,
        services=_lines(source.services),
        group=source.group,
        longest_freeze_ms=source.longest_freeze_ms,
        longest_downtime_s=source.longest_downtime_s,
        is_optional=source.is_optional,
        is_shared=source.is_shared,
        accepted_problems=source.accepted_problems,
    )


FALLBACKS: dict[str, Fallback] = {"fail": "fail", "accept-live": "accept-live", "wait": "wait"}


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _find_waiting(run: Run, sources: Sequence[Source]) -> set[str]:
    """Return the keys of the sources that wait for this window: the newest good hot run did not make them.

    Nothing is stopped that was copied hot, and nothing is left that never was."""
    keys = {source.key for source in sources if may_wait(source)}
    if not keys:
        return keys
    good = Run.objects.filter(
        device=run.device_id, policy=run.policy_id, kind=Run.BACKUP,
        state__in=(State.SUCCEEDED, State.WARNINGS), number__lt=run.number,
    )  # fmt: skip
    newest = good.exclude(request__window=COLD).order_by("-number").first()
    if newest is None:
        return keys
    return keys - set(RestorePoint.objects.filter(run=newest).values_list("source", flat=True))


def known_points(run: Run, now: datetime) -> tuple[KnownPoint, ...]:
    """Given a run, return the newest good restore point of each source of its policy that carries a proof:
    what did not change since is not read again. Runs one query.

    The data of each was read within the last days: longer no proof is believed."""
    made = RestorePoint.objects.filter(
        device=run.device_id, policy=run.policy_id, part="", is_complete=True, damage=""
    )
    was_read = made.filter(
        repository=OuterRef("repository"), restic_id=OuterRef("restic_id"), is_unchanged=False,
        made_at__gt=now - PROVEN_FOR, made_at__lte=now,
    )  # fmt: skip
    keys = made.exclude(proof="").filter(Exists(was_read)).order_by("source", "-made_at", "pk")
    newest: dict[str, RestorePoint] = {}
    for point in keys.filter(made_at=_newest_of_its_source()):
        newest.setdefault(point.source, point)
    return tuple(
        KnownPoint(
            source=point.source,
            proof=point.proof,
            restic_id=point.restic_id,
            method=point.method,
            consistency=Consistency(point.consistency),
            size_bytes=point.size_bytes,
            file_count=point.file_count,
        )
        for point in newest.values()
    )


def count_files(device: Device) -> int:
    """Return how many files the newest restore points of a device hold. Runs one query."""
    newest = RestorePoint.objects.filter(
        device=OuterRef("device"), source=OuterRef("source"), part=OuterRef("part")
    )
    newest_at = Subquery(newest.order_by("-made_at").values("made_at")[:1])
    points = RestorePoint.objects.filter(device=device, made_at=newest_at)
    return int(points.aggregate(count=Sum("file_count"))["count"] or 0)


def _newest_of_its_source() -> Subquery:
    same = RestorePoint.objects.filter(
        device=OuterRef("device"), policy=OuterRef("policy"), source=OuterRef("source"), is_complete=True
    )
    return Subquery(same.order_by("-made_at").values("made_at")[:1])


def keep_points(
    run: Run, repository: Repository, outcome: BackupOutcome, asked: Collection[str] = ()
) -> None:
    """Write what a backup made into the catalogue, with the server's clock, and keep the device's facts;
    `asked` are the applications whose instances are among them."""
    now = timezone.now()
    lock([run.device_id])
    points = [
        RestorePoint(
            device=run.device,
            repository=repository,
            policy=run.policy,
            run=run,
            source=point.source,
            part=point.part,
            group=point.group,
            paths=[encode_path(path) for path in point.paths],
            restic_id=point.restic_id,
            made_at=now,
            method=point.method,
            consistency=point.consistency,
            is_complete=point.is_complete,
            size_bytes=point.size_bytes,
            file_count=point.file_count,
            stored_bytes=point.stored_bytes,
            problem_count=point.problem_count,
            proof=point.proof,
            is_unchanged=point.is_unchanged,
        )
        for point in outcome.points
    ]
    RestorePoint.objects.bulk_create(points)
    keep_instances(points, outcome.facts)
    note_backup(run.policy_id, run.device_id, {point.source for point in outcome.points}, now)
    device = Device.objects.get(pk=run.device_id)
    # It says how the device stands, too.
    keep_facts(device, join_facts(read_known_facts(device), outcome.facts, asked))


def join_facts(known: DeviceFacts | None, seen: DeviceFacts, asked: Collection[str]) -> DeviceFacts:
    """Given what was known and what a backup saw, return both: a backup looks only at the paths and asks only
    the applications of its policy. Pure."""
    if known is None:
        return seen
    looked = {fact.path for fact in seen.paths}
    return replace(
        seen,
        instances=(*(each for each in known.instances if each.application not in asked), *seen.instances),
        paths=(*(fact for fact in known.paths if fact.path not in looked), *seen.paths),
    )
