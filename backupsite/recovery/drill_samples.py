"""The run that looks into restore points without restoring them: cheap enough for each of them."""

from __future__ import annotations

from agents.drilling.sampling import sample_points
from agents.errors import AgentError, Cancelled, LeaseLost
from agents.events import Tell
from backupsite.engine import console_restic
from backupsite.recovery.drill_keeping import keep_evidence, keep_impossible
from backupsite.recovery.drills import ids_of, points_of, refute, stored_of
from backupsite.recovery.metering import Metering
from backupsite.recovery.models import RestorePoint
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State


def ask_sample(point: RestorePoint, *, requested_by: str) -> Run:
    """Ask for a look into a restore point and the others of its source and backup."""
    request = {"points": ids_of(point)}
    return request_run(
        Run.SAMPLE, point.device, policy=point.policy, request=request, requested_by=requested_by
    )


class LookInto:
    """Reads the repository on the console's machine, beside whatever else works there."""

    name = Run.SAMPLE
    queue: QueueName = "bulk"
    may_retry = True

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        points = points_of(run)
        try:
            with Metering(points[0].repository, run) as metering:
                metering.require_open()
                evidence = sample_points(
                    metering.place(), console_restic(), stored_of(points), tell=tell, control=control
                )
        except (Cancelled, LeaseLost):
            raise
        except AgentError as error:
            reason, remedy = error.message, error.remedy
            control.in_transaction(lambda: keep_impossible(run, points, reason, remedy))
            raise
        control.in_transaction(lambda: keep_evidence(run, points, evidence))
        return Ended(State.SUCCEEDED) if evidence.is_passed else Ended(State.FAILED, refute(evidence))
