"""The page of one repository: what it holds, what checks found, and its second copy; and its buttons."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents.maintaining.reading import DAYS
from backupsite.accounts import audit
from backupsite.recovery.copies import COPY_ELSEWHERE, ask_copy, list_wanted, storage_for, why_not_copied
from backupsite.recovery.maintenance import ask_check, ask_repair
from backupsite.recovery.maintenance_due import last_turn
from backupsite.recovery.models import PointCopy, RestorePoint
from backupsite.recovery.newest import find_newest
from backupsite.recovery.pruning import ask_prune
from backupsite.recovery.repairing import find_other
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.reading import count_held, limits_of
from backupsite.repositories.reading_outlook import Outlook, look_ahead
from backupsite.runs.looks import kind_icon, run_status, run_title
from backupsite.runs.models import Run
from backupsite.web.status import Status
from backupsite.web.visible import make_visible

RUNS_SHOWN = 12
STRAYS_SHOWN = 20


@dataclass(frozen=True)
class Rotation:
    """How much of a repository was read when, out of its last check."""

    total_bytes: int
    unread_bytes: int
    ages: list[int]

    @property
    def read_bytes(self) -> int:
        """What was read and found whole within the days of a turn."""
        return sum(self.ages[:DAYS])

    @property
    def oldest_days(self) -> int | None:
        """How long ago, in days, what was not read for longest was read; None when nothing was."""
        return max((day for day, size in enumerate(self.ages) if size), default=None)

    @property
    def is_complete(self) -> bool:
        return self.read_bytes == self.total_bytes


@dataclass(frozen=True)
class ShownStray:
    """A snapshot that no restore point names, with what it says of itself."""

    snapshot_id: str
    first_seen: datetime
    hostname: str
    tags: list[str]
    paths: list[str]


@require_safe
def repository(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    shown = find_repository(pk)
    return render(request, "recovery/repository.html", make_context(shown, timezone.now()))


def find_repository(pk: uuid.UUID) -> Repository:
    """Given its name, return a repository with all that its page needs. Raise Http404 when there is none."""
    found = Repository.objects.select_related("storage__node", "device", "copy_of__device")
    return get_object_or_404(found, uuid=pk)


def make_context(shown: Repository, now: datetime) -> dict[str, Any]:
    """Return what the page shows. Runs seven queries."""
    points = RestorePoint.objects.filter(repository=shown)
    strays = [
        ShownStray(snapshot_id, datetime.fromisoformat(first_seen), *said)
        for snapshot_id, first_seen, *said in shown.reading.get("strays", [])
    ]
    runs = Run.objects.filter(device=shown.owner, kind__in=Run.KINDS_ON_REPOSITORY).select_related("device")
    return {
        "repository": shown,
        "device": shown.owner,
        "state": state_of(shown),
        "damage": [make_visible(line) for line in shown.damage.splitlines()],
        "hurt_count": points.exclude(damage="").count(),
        "point_count": points.count(),
        "rotation": rotation_of(shown),
        "outlook": outlook_of(shown.storage),
        "turn_at": last_turn(shown.uuid, now),
        "other": find_other(shown) if shown.damage else None,
        "second": second_of(shown),
        "copy_elsewhere": COPY_ELSEWHERE,
        "strays": strays[:STRAYS_SHOWN],
        "stray_count": shown.reading.get("stray_count", 0),
        "runs": [(run, run_status(run), kind_icon(run), run_title(run)) for run in runs[:RUNS_SHOWN]],
        "crumbs": [("Repositories", reverse("repositories")), (make_visible(shown.owner.name), "")],
    }


@dataclass(frozen=True)
class Second:
    """The second copy of a repository: `copy` is None before it was made, `storage` where it goes. `alone` is
    how many of the newest restore points no policy wants there."""

    copy: Repository | None
    storage: Storage | None
    copied: int
    missing: int
    alone: int = 0
    why_not: str = ""

    @property
    def is_complete(self) -> bool:
        return self.copy is not None and self.storage is not None and not (self.missing or self.alone)


def second_of(shown: Repository) -> Second:
    """Return how the second copy of a repository stands. Runs some seven queries."""
    copy = Repository.objects.filter(copy_of=shown).select_related("storage").first()
    storage = storage_for(shown) if shown.copy_of_id is None else None
    copied = set(PointCopy.objects.filter(repository=copy).values_list("point_id", flat=True))
    wanted = {point.pk for point in list_wanted(shown, timezone.now())} if storage is not None else set()
    points = RestorePoint.objects.filter(
        repository=shown, policy__isnull=False, damage="", resting_since=None
    )
    alone = find_newest(points.defer("paths", "proof")) - copied - wanted
    why_not = why_not_copied(shown, storage) if storage is not None else ""
    return Second(copy, storage, len(copied), len(wanted - copied), len(alone), why_not)


def outlook_of(storage: Storage) -> Outlook:
    """Return whether the limits of a storage let all of it be read in time. Runs a query."""
    held = count_held(storage)
    return look_ahead(limits_of(storage, held), held)


def rotation_of(shown: Repository) -> Rotation | None:
    """Return how far a repository was read; None before its first check."""
    reading = shown.reading
    if not reading:
        return None
    return Rotation(reading["total_bytes"], reading["unread_bytes"], list(reading["ages"]))


def state_of(shown: Repository) -> Status:
    """Given a repository, return how it stands by its last checks."""
    if not shown.is_made:
        return Status("Not made yet", "off", "off")
    if shown.damage:
        return Status("Damaged", "bad", "bad")
    if shown.read_at is None or shown.structure_checked_at is None:
        return Status("Not checked yet", "neutral", "waiting")
    return Status("Whole at its last check", "good", "good")


@require_POST
def repository_repair(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask for a repair. Only of what is known to be damaged: nobody repairs by mistake."""
    shown = find_repository(pk)
    if not shown.damage:
        messages.info(request, "No check found anything damaged: there is nothing to repair.")
        return redirect("repository", pk=pk)
    return _ask(request, shown, "repair-repository", ask_repair)


@require_POST
def repository_prune(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask for the removal of what is due to go."""
    return _ask(request, find_repository(pk), "prune-repository", ask_prune)


@require_POST
def repository_copy(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask for what is missing from the second copy."""
    return _ask(request, find_repository(pk), "copy-repository", ask_copy)


def _ask(request: HttpRequest, shown: Repository, verb: str, ask: Callable[..., Run]) -> HttpResponse:
    with transaction.atomic():
        run = ask(shown, requested_by=request.user.get_username())
        audit.record(request, verb, shown.owner.name, {"repository": str(shown.uuid)})
    return redirect(run)


@require_POST
def repository_check(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask for a check: of what is due, or of everything."""
    shown = find_repository(pk)
    if not shown.is_made:
        messages.error(request, "The repository is made at the first backup of its device.")
        return redirect("repository", pk=pk)
    everything = request.POST.get("everything") == "1"
    with transaction.atomic():
        run = ask_check(shown, requested_by=request.user.get_username(), everything=everything)
        audit.record(request, "check-repository", shown.owner.name, {"everything": everything})
    return redirect(run)
