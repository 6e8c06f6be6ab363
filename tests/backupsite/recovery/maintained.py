"""A real repository of a device in the console's home, with restore points in the catalogue."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from agents.errors import LeaseLost
from agents.events import Event
from agents.restic.repository import open_repository
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.places import make_place
from backupsite.repositories import kit
from backupsite.repositories.models import Repository
from backupsite.runs.kinds import Ended, Kind
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_point, make_policy, make_run


@dataclass
class Held:
    """A run that this process holds until it is told otherwise."""

    is_lost: bool = False
    stop_event: threading.Event = field(default_factory=threading.Event)
    results: list[Callable[[], None]] = field(default_factory=list)

    def raise_if_stopped(self) -> None:
        if self.is_lost:
            raise LeaseLost("Somebody else holds it.")

    def is_current(self) -> bool:
        return not self.is_lost

    def in_transaction(self, callback: Callable[[], None]) -> None:
        self.results.append(callback)


@dataclass
class Maintained:
    """`points` by the name of the one file in each."""

    device: Device
    repository: Repository
    path: Path
    points: dict[str, RestorePoint]
    told: list[Event] = field(default_factory=list)

    def work(self, kind: Kind, run: Run) -> Ended:
        """Do a run's work and write its results, as the worker does."""
        held = Held()
        ended = kind.work(run, self.told.append, held)
        for write in held.results:
            write()
        Run.objects.filter(pk=run.pk).update(state=ended.state, ended_at=timezone.now())
        self.repository.refresh_from_db()
        for point in self.points.values():
            point.refresh_from_db()
        return ended

    def run(self, kind: str, **request: object) -> Run:
        return make_run(
            self.device, State.RUNNING, kind, request={"repository": str(self.repository.uuid), **request}
        )

    def largest_pack(self) -> Path:
        """The pack that holds the file of the largest point, "b"."""
        return max((self.path / "data").glob("*/*"), key=lambda each: each.stat().st_size)


def confirm_kit() -> None:
    text = kit.make_kit().text
    found = next(line.strip() for line in text.splitlines() if line.count("-") == 7)
    assert kit.confirm_kit(found[-kit.ENDING_LENGTH :])


def make_maintained(device: Device, folder: Path, sizes: dict[str, int] | None = None) -> Maintained:
    """Store one snapshot for each name with a file of this size, and write it into the catalogue."""
    confirm_kit()
    policy = make_policy(device)
    repository, place = make_place(device, lambda event: None)
    points = {}
    with open_repository(place.path, place.password, console_restic()) as engine:
        for number, (name, size) in enumerate((sizes or {"a": 100_000, "b": 300_000}).items()):
            (folder / name).write_bytes(os.urandom(size))
            restic_id = engine.store([str(folder / name)], host=device.slug, tags=["run=1"])
            made_at = timezone.now() - timedelta(hours=3 - number)
            points[name] = make_point(device, policy, made_at)
            RestorePoint.objects.filter(pk=points[name].pk).update(restic_id=restic_id)
            points[name].refresh_from_db()
    repository.refresh_from_db()
    return Maintained(device, repository, place.path, points)
