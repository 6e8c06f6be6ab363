"""The run that proves restore points: they are restored on a machine, tried, and removed. The machine is the
console's own, or a device that a rule or a person chose."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import get_args

from django.conf import settings

from agents.applications.stored import Stored, StoredPart
from agents.applications.trials import Comparison, Question, trial_makers
from agents.drill import DrillRequest, drill
from agents.drilling.evidence import Evidence
from agents.errors import AgentError, Cancelled, DrillRefuted, LeaseLost, PlanRefused
from agents.events import Level, Said, Tell
from agents.local import LocalSession
from agents.session import Session
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.fleet.sessions import open_session
from backupsite.recovery.drill_keeping import keep_evidence, keep_impossible
from backupsite.recovery.drill_machines import machine_of, words_of
from backupsite.recovery.drill_models import DrillQuestion
from backupsite.recovery.folders import decode_path
from backupsite.recovery.metering import Metering
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.origins import FIRST, find_origin
from backupsite.recovery.places import place_of
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State

UNTRIED = "No drill knows how to start {}: its files were compared with the restore point, and not more."

# A drill works beside the backups of the console's own machine: under a name of its own neither keeps the
# other waiting there, nor takes the other's directories for what a dead run left.
BESIDE = "drill"
COMPARISONS: dict[str, Comparison] = {word: word for word in get_args(Comparison)}


def ask_drill(point: RestorePoint, machine: Device | None, *, requested_by: str, origin: str = FIRST) -> Run:
    """Ask for a drill of a restore point with the others of its source and backup, on a device or, without
    one, on the console's machine. It proves what it reads: only who asks chooses."""
    request = {"points": ids_of(point), **words_of(machine), **({} if origin == FIRST else {"from": origin})}
    return request_run(
        Run.DRILL, point.device, policy=point.policy, request=request, requested_by=requested_by
    )


def ids_of(point: RestorePoint) -> list[str]:
    return sorted(str(each.pk) for each in list_set(point))


def list_set(point: RestorePoint) -> list[RestorePoint]:
    """Given a restore point, return all of its source that were made together with it: the streams."""
    same = RestorePoint.objects.filter(
        device=point.device_id, source=point.source, made_at=point.made_at, run=point.run_id
    )
    return list(same.select_related("device", "policy", "repository", "repository__storage").order_by("part"))


class Prove:
    """Drills on its machine, whichever device the points are of: nothing happens on that device."""

    name = Run.DRILL
    queue: QueueName = "bulk"
    # What it restored is removed whatever happens; data that is bad is no error that may pass.
    may_retry = True

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        points = points_of(run)
        notes: list[str] = []
        try:
            machine = machine_of(run)
            read_from = find_origin(points, run.request.get("from", FIRST)).repository
            with Metering(read_from, run) as metering:
                metering.require_open()
                request = make_request(run, points, machine, tell, notes)
                request = replace(request, place=metering.place())
                evidence = drill(request, lambda: _open(machine), tell=tell, control=control)
        except (Cancelled, LeaseLost):
            raise
        except AgentError as error:
            reason, remedy = error.message, error.remedy
            control.in_transaction(lambda: keep_impossible(run, points, reason, remedy))
            raise
        control.in_transaction(lambda: keep_evidence(run, points, evidence, notes))
        return Ended(State.SUCCEEDED) if evidence.is_passed else Ended(State.FAILED, refute(evidence))


def _open(machine: Device | None) -> Session:
    return LocalSession() if machine is None else open_session(machine)


def refute(evidence: Evidence) -> AgentError:
    """Given evidence that proves nothing, return it as the reason of the run's end."""
    failed = evidence.failures
    if not failed:
        return DrillRefuted("Nothing was checked, so nothing is proven.")
    more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return DrillRefuted(
        f"The data did not pass: {failed[0].name}{more}.",
        remedy="Do not rely on this restore point. Drill the one before, and find out what happened to this.",
        detail="\n".join(f"{check.name}: {check.said}" for check in failed),
    )


def points_of(run: Run) -> list[RestorePoint]:
    """Given a run, return the restore points that it names, all of one source and one backup of its device.

    Raise PlanRefused when one of them is gone."""
    ids = {uuid.UUID(text) for text in run.request["points"]}
    found = RestorePoint.objects.select_related("device", "policy", "repository", "repository__storage")
    points = list(found.filter(pk__in=ids, device=run.device).order_by("part"))
    if not points or len(points) != len(ids):
        raise PlanRefused("The restore point is gone.", remedy="Pick another one.")
    if len({(point.source, point.made_at, point.repository_id) for point in points}) != 1:
        raise PlanRefused("The restore points are not of one backup of one source.")
    return points


def make_request(
    run: Run, points: Sequence[RestorePoint], machine: Device | None, tell: Tell, notes: list[str]
) -> DrillRequest:
    """Given a run and its points, return what the flow is asked for. What cannot be tried is said in `notes`.

    Runs a query for the questions."""
    origin = find_origin(points, run.request.get("from", FIRST))
    if origin.is_copy:
        notes.append(origin.sentence)
        tell(Said(notes[-1]))
    stored = origin.of(stored_of(points))
    if stored.application and stored.application not in trial_makers():
        notes.append(UNTRIED.format(stored.application))
        tell(Said(notes[-1], Level.WARNING))
        stored = Stored("", "", stored.method, stored.parts)
    return DrillRequest(
        console_id=f"{settings.CONSOLE_ID}{BESIDE}",
        run_id=run.id.hex,
        place=place_of(origin.repository),
        binary=console_restic(),
        is_local=machine is None or machine.is_local,
        stored=stored,
        questions=questions_of(points[0]),
    )


def stored_of(points: Sequence[RestorePoint]) -> Stored:
    """Given the restore points of one source and one backup, return them as the flows read them. Pure."""
    source = points[0].source
    application, _, instance = ("", "", "") if source.startswith("/") else source.partition(":")
    parts = tuple(
        StoredPart(point.restic_id, point.part, _decode(point.paths), point.size_bytes) for point in points
    )
    paths = () if application else (source,)
    return Stored(application, instance, points[0].method, parts, paths)


def _decode(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(decode_path(path) for path in paths)


def questions_of(point: RestorePoint) -> tuple[Question, ...]:
    """Given a restore point, return what its policy's rules ask of its source. Runs one query."""
    asked = DrillQuestion.objects.filter(policy=point.policy_id, source=point.source)
    return tuple(
        Question(each.text, COMPARISONS[each.comparison], each.value, each.database) for each in asked
    )
