"""The runs that keep a repository whole: a check of it, and the removal of what is due to go."""

from __future__ import annotations

import time
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from agents import maintenance
from agents.errors import PlanRefused, RepositoryDamaged
from agents.events import Level, Said, Tell
from agents.maintaining.words import CheckOutcome
from agents.maintenance import CheckRequest
from backupsite.engine import console_restic
from backupsite.recovery.maintenance_keeping import keep_check, list_expected
from backupsite.recovery.metering import Metering
from backupsite.recovery.repairing import repair
from backupsite.repositories.models import Repository
from backupsite.runs.due import SCHEDULE
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from backupsite.web.formatting import format_bytes, format_count

# A disk gives some 150 MB/s, and others want some of it. An object store is read no faster than that either.
RATE_BYTES_S = 100_000_000
# Where reading costs money the structure, which is most of the reading of a small repository, waits longer.
STRUCTURE_EVERY = timedelta(days=1)
COSTLY_STRUCTURE_EVERY = timedelta(days=7)
_LOOK_EVERY_S = 5.0


def ask_check(repository: Repository, *, requested_by: str, everything: bool = False) -> Run:
    """Ask for a check of a repository; `everything`: all of it is read, not only what is due."""
    request = {"repository": str(repository.uuid), "everything": everything}
    return request_run(Run.CHECK, repository.owner, request=request, requested_by=requested_by)


def ask_repair(repository: Repository, *, requested_by: str) -> Run:
    """Ask for a repair of what a check finds damaged, and another check after it."""
    request = {"repository": str(repository.uuid), "repair": True}
    return request_run(Run.CHECK, repository.owner, request=request, requested_by=requested_by)


def repository_of(run: Run) -> Repository:
    """Given a run, return the repository that it works on. Raise PlanRefused when it is gone or empty."""
    found = Repository.objects.select_related("storage", "device", "copy_of__device")
    repository = found.filter(uuid=run.request.get("repository")).first()
    if repository is None or repository.owner.pk != run.device_id:
        raise PlanRefused("There is no such repository of this device any more.")
    if not repository.is_made:
        raise PlanRefused(
            "The repository was not made yet.", remedy="The first backup of its device makes it."
        )
    return repository


class GivingWay:
    """The control of a run that ends early when a person's work, or a backup, waits for its device, and when
    no more is to be read of the storage (`why_ended`)."""

    def __init__(self, run: Run, control: Control, metering: Metering | None = None) -> None:
        self._run = run
        self._control = control
        self._metering = metering
        self.why_ended = ""
        self._looked = 0.0
        self._must = False

    def raise_if_stopped(self) -> None:
        self._control.raise_if_stopped()
        if self._metering is not None:
            self._metering.look()

    def is_current(self) -> bool:
        return self._control.is_current()

    def must_give_way(self) -> bool:
        """Return True when another run waits for the device, or enough was read. Runs some queries every few
        seconds."""
        if self._metering is not None and not self.why_ended:
            self.why_ended = self._metering.find_end()
        if self.why_ended:
            return True
        if not self._must and time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._looked = time.monotonic()
            self._must = is_wanted(self._run.device_id)
        return self._must


def is_wanted(device_id: int) -> bool:
    """Return whether a run waits that works on this device, other than maintenance. Runs one query."""
    is_time = Q(not_before=None) | Q(not_before__lte=timezone.now())
    waiting = Run.objects.filter(is_time, device=device_id, state=State.QUEUED)
    return waiting.filter(kind__in=Run.KINDS_ON_DEVICE).exists()


class Check:
    """Reads a repository in turns, and looks at how it hangs together."""

    name = Run.CHECK
    queue: QueueName = "bulk"
    may_retry = True

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        repository = repository_of(run)
        outcome = self._check(run, repository, tell, control)
        if run.request.get("repair") and outcome.findings:
            repair(repository, outcome, tell=tell, control=control)
            outcome = self._check(run, repository, tell, control)
        control.in_transaction(lambda: keep_check(run, repository, outcome))
        _say(outcome, tell)
        if outcome.findings:
            return Ended(State.FAILED, damaged(outcome))
        return Ended(State.SUCCEEDED)

    def _check(self, run: Run, repository: Repository, tell: Tell, control: Control) -> CheckOutcome:
        is_repair = bool(run.request.get("repair"))
        # A person who asks means all but the reading of everything.
        is_asked = run.requested_by != SCHEDULE or is_repair
        # A repair is the way back to data, as a restore is: it is counted, and waits for nothing.
        with Metering(repository, run, is_held=not is_repair) as metering:
            metering.require_open()
            request = CheckRequest(
                place=metering.place(),
                binary=console_restic(),
                expected=list_expected(repository, timezone.now()),
                everything=bool(run.request.get("everything")),
                checks_structure=is_asked or is_structure_due(repository),
                rate_bytes_s=RATE_BYTES_S,
            )
            giving_way = GivingWay(run, control, metering)
            outcome = maintenance.check(request, tell=tell, control=giving_way)
        if giving_way.why_ended:
            tell(Said(f"Nothing more is read now: {giving_way.why_ended}."))
        return outcome


def is_structure_due(repository: Repository) -> bool:
    """Return whether it is time to look at how a repository hangs together."""
    every = COSTLY_STRUCTURE_EVERY if repository.storage.reading_costs else STRUCTURE_EVERY
    last = repository.structure_checked_at
    # A check is not at the same minute each day.
    return last is None or bool(repository.damage) or last < timezone.now() - every + timedelta(hours=6)


def damaged(outcome: CheckOutcome) -> RepositoryDamaged:
    """Given what a check found, return it as the error of its run."""
    count, hurt = len(outcome.findings), len(outcome.hurt)
    what = f"{format_count(count)} things are" if count > 1 else "Something is"
    needs = "1 snapshot needs" if hurt == 1 else f"{format_count(hurt)} snapshots need"
    return RepositoryDamaged(
        f"{what} not as stored; {needs} what is damaged.",
        remedy="Open the page of the repository: it says what can be repaired, and how.",
        detail="\n".join(str(each) for each in outcome.findings[:50]),
    )


def _say(outcome: CheckOutcome, tell: Tell) -> None:
    reading = outcome.reading
    tell(Said(f"{format_bytes(reading.read_bytes)} in {format_count(reading.read_files)} files were read, of "
              f"{format_bytes(reading.total_bytes)} in {format_count(reading.files)}."))  # fmt: skip
    if not reading.is_whole or (outcome.reading.is_whole and not outcome.is_structure_checked):
        tell(Said("What was not done goes on later: other work waits, or its turn is not today."))
    if outcome.strays:
        said = (
            f"{format_count(len(outcome.strays))} snapshots belong to no restore point: of runs that failed"
        )
        tell(Said(f"{said}, or of somebody else. The page of the repository lists them.", Level.INFO))
