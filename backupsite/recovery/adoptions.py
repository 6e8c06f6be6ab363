"""The run that adopts a restic repository: nothing is copied, its snapshots become restore points."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from agents.commands import Secret
from agents.events import Consistency, Said, Tell
from agents.restic.repository import SnapshotInfo
from agents.restic.repository import open_repository as open_engine
from backupsite import vault
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.recovery.folders import encode_path
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.stored import lock, restate
from backupsite.repositories.adopting import reserve, take_over
from backupsite.repositories.making import measure_repository, open_repository
from backupsite.repositories.models import Repository, Storage
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State

METHOD = "adopted"


@transaction.atomic
def ask_adoption(device: Device, storage: Storage, name: str, password: Secret, *, requested_by: str) -> Run:
    """Ask for a directory, which `adopting.check_candidate` found good, to become a device's repository.

    The password is sealed for the workers, and forgotten when the run has ended well. Raise AdoptRefused."""
    reserve(device, storage)
    sealed = base64.b64encode(vault.seal(_owner(device), password)).decode("ascii")
    request = {"storage": storage.pk, "folder": name, "sealed": sealed}
    return request_run(Run.ADOPT, device, request=request, requested_by=requested_by)


def _owner(device: Device) -> str:
    return f"runs.run:adopt:{device.uuid}"


class Adopt:
    """Gives a repository our keys and its new name, then reads what is in it."""

    name = Run.ADOPT
    queue: QueueName = "bulk"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        repository = Repository.objects.select_related("storage").get(device=run.device)
        folder = str(run.request["folder"])
        theirs = vault.unseal(_owner(run.device), base64.b64decode(run.request["sealed"]))
        path = take_over(repository, folder, theirs)
        tell(
            Said(f"The repository opens with the console's key and the recovery kit now, and lies in {path}.")
        )
        with open_engine(path, open_repository(repository).password, console_restic()) as engine:
            restic_id, snapshots = engine.read_id(), engine.list_snapshots()
        for each in snapshots:
            tell(Said(_describe(each)))
        control.in_transaction(lambda: keep_adopted(run, repository, restic_id, snapshots))
        measure_repository(repository)
        return Ended(State.SUCCEEDED if snapshots else State.WARNINGS)


def _describe(snapshot: SnapshotInfo) -> str:
    when = f"{snapshot.time:%Y-%m-%d %H:%M}" if snapshot.time is not None else "an unknown time"
    words = [
        f"{snapshot.snapshot_id[:8]} of {when} from {snapshot.hostname}:",
        *snapshot.paths,
        *snapshot.tags,
    ]
    return " ".join(words)


def keep_adopted(run: Run, repository: Repository, restic_id: str, snapshots: Sequence[SnapshotInfo]) -> None:
    """Write the snapshots of an adopted repository into the catalogue. What is there already stays."""
    lock([run.device_id])
    Repository.objects.filter(pk=repository.pk).update(restic_id=restic_id)
    known = set(RestorePoint.objects.filter(repository=repository).values_list("restic_id", flat=True))
    now = timezone.now()
    RestorePoint.objects.bulk_create(
        make_point(run, repository, each, now) for each in snapshots if each.snapshot_id not in known
    )
    request = {name: value for name, value in run.request.items() if name != "sealed"}
    Run.objects.filter(pk=run.pk).update(request=request)
    restate([run.device_id])


def make_point(run: Run, repository: Repository, snapshot: SnapshotInfo, now: datetime) -> RestorePoint:
    """Given a snapshot that somebody else made, return the restore point. Nobody knows how it was held: its
    consistency is none. A time in the future would be the newest for ever."""
    summary = snapshot.summary
    return RestorePoint(
        device_id=run.device_id,
        repository=repository,
        run=run,
        source=name_source(snapshot.paths),
        paths=[encode_path(path) for path in snapshot.paths],
        restic_id=snapshot.snapshot_id,
        made_at=min(snapshot.time or now, now),
        method=METHOD,
        consistency=Consistency.NONE,
        size_bytes=summary.total_bytes_processed if summary is not None else 0,
        file_count=summary.total_files_processed if summary is not None else 0,
        stored_bytes=summary.data_added_packed if summary is not None else 0,
    )


def name_source(paths: Sequence[str]) -> str:
    """Given the paths of a snapshot, return the key of the source: the folder that holds all of them."""
    absolute = [path for path in paths if path.startswith("/")]
    return posixpath.commonpath(absolute) if absolute else "/"
