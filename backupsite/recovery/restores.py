"""The run that restores onto a device, and how it is asked for."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.conf import settings

from agents.errors import PlanRefused
from agents.events import Tell
from agents.restore import Conflict, Mode, RestoreRequest, restore
from backupsite.engine import console_restic
from backupsite.fleet.sessions import open_session
from backupsite.recovery.folders import decode_folder, decode_path, encode_path
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.places import place_of
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State


def ask_restore(
    point: RestorePoint,
    *,
    folder: str,
    names: Sequence[str],
    target: str,
    size_bytes: int,
    requested_by: str,
) -> Run:
    """Ask for a restore into `target` on the point's own device: all of `folder`, or its entries `names`.

    `size_bytes` is what is known of its size (0: unknown), to look for space before."""
    request = {
        "point": str(point.pk),
        "folder": encode_path(folder),
        "names": [encode_path(name) for name in names],
        "target": target,
        "size_bytes": size_bytes,
    }
    return request_run(Run.RESTORE, point.device, request=request, requested_by=requested_by)


class Restore:
    """Restores into another folder of the device; what exists there is kept."""

    name = Run.RESTORE
    queue: QueueName = "interactive"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        point, folder = point_of(run), decode_folder(run.request["folder"])
        request = RestoreRequest(
            console_id=settings.CONSOLE_ID,
            run_id=run.id.hex,
            place=place_of(point.repository),
            binary=console_restic(),
            is_local=run.device.is_local,
            restic_id=point.restic_id,
            paths=tuple(_join(folder, decode_path(name)) for name in run.request["names"]),
            base=folder,
            target=run.request["target"],
            conflict=Conflict.SKIP,
            mode=Mode.MERGE,
            is_whole_system=False,
            moment=point.made_at,
            size_bytes=int(run.request["size_bytes"]),
            protected=(str(settings.HOTFLEET_HOME),) if run.device.is_local else (),
        )
        outcome = restore(request, lambda: open_session(run.device), tell=tell, control=control)
        return Ended(State.SUCCEEDED if outcome.is_complete else State.WARNINGS)


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}"


def point_of(run: Run) -> RestorePoint:
    """Given a run, return the restore point that its request names, if it is one of the run's device.

    Raise PlanRefused when it is gone."""
    found = RestorePoint.objects.select_related("repository", "repository__storage").filter(
        pk=uuid.UUID(run.request["point"]), device=run.device
    )
    point = found.first()
    if point is None:
        raise PlanRefused("The restore point is gone.", remedy="Pick another one.")
    return point
