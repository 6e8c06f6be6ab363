"""What a check found is written down, in the transaction that closes its run; people are told of damage."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.urls import reverse
from django.utils import timezone

from agents.maintaining.words import CheckOutcome, Expected, Stray
from backupsite.alerts import notices
from backupsite.recovery.models import PointCopy, RestorePoint
from backupsite.recovery.stored import lock, restate
from backupsite.recovery.wal_models import WalBatch
from backupsite.repositories.models import Repository
from backupsite.runs.models import Run
from backupsite.runs.states import State
from backupsite.runs.texts import make_storable

MOST_FINDINGS, MOST_STRAYS = 100, 500
OF_ITS_SET = "another part of it is damaged"
# Of the checks that went well so many stay for each device: there is one each day.
KEPT_RUNS = 30


def list_known(repository: Repository) -> set[str]:
    """Return the ids of the snapshots of a repository that the catalogue names. Runs two queries."""
    if repository.copy_of_id is not None:
        copies = PointCopy.objects.filter(repository=repository)
        return set(copies.values_list("restic_id", flat=True).distinct())
    points = RestorePoint.objects.filter(repository=repository).order_by()
    batches = WalBatch.objects.filter(repository=repository).order_by()
    found = points.values_list("restic_id", flat=True).distinct()
    return {*found, *batches.values_list("restic_id", flat=True)}


def list_expected(repository: Repository, now: datetime) -> Expected:
    """Return what a check expects in a repository. What a prune may have removed, without having lived to
    write it down, is not missed."""
    known = list_known(repository)
    points = RestorePoint.objects.filter(repository=repository).order_by()
    over = set(points.filter(rests_until__lte=now).values_list("restic_id", flat=True))
    if over:
        over -= set(points.exclude(rests_until__lte=now).values_list("restic_id", flat=True))
        over -= set(points.filter(rests_until=None).values_list("restic_id", flat=True))
    return Expected(frozenset(known - over), repository.restic_id, frozenset(over))


def keep_check(run: Run, repository: Repository, outcome: CheckOutcome) -> None:
    """Write down what a check found: on the repository, on the points that are hurt, and in a notice."""
    now = timezone.now()
    lock([run.device_id])
    is_whole = outcome.reading.is_whole and outcome.is_structure_checked
    changes: dict[str, Any] = {"reading": _describe(outcome)}
    if outcome.is_structure_checked:
        changes["structure_checked_at"] = now
    if outcome.reading.is_whole:
        changes["read_at"] = now
    if outcome.findings or is_whole:
        changes |= _damage_of(repository, outcome, now)
    Repository.objects.filter(pk=repository.pk).update(**changes)
    _mark(repository, outcome.hurt, is_whole=is_whole)
    restate([run.device_id])
    if outcome.findings:
        _tell(repository, outcome)
    forget_old_runs(run)


def _damage_of(repository: Repository, outcome: CheckOutcome, now: datetime) -> dict[str, Any]:
    lines = [make_storable(str(each), 300) for each in outcome.findings[:MOST_FINDINGS]]
    left = len(outcome.findings) - len(lines)
    damage = "\n".join([*lines, *([f"and {left} more"] if left else [])])
    return {"damage": damage, "damaged_at": (repository.damaged_at or now) if damage else None}


def _describe(outcome: CheckOutcome) -> dict[str, Any]:
    strays = [_describe_stray(each) for each in outcome.strays[:MOST_STRAYS]]
    return {**asdict(outcome.reading), "strays": strays, "stray_count": len(outcome.strays)}


def _describe_stray(stray: Stray) -> list[Any]:
    """What a snapshot says of itself comes from a device: as texts that a database can store."""
    tags = [make_storable(tag, 100) for tag in stray.tags[:5]]
    paths = [make_storable(path, 200) for path in stray.paths[:3]]
    return [stray.snapshot_id, stray.first_seen.isoformat(), make_storable(stray.hostname, 100), tags, paths]


def _mark(repository: Repository, hurt: dict[str, str], *, is_whole: bool) -> None:
    """Say on restore points what a check found of their data. Only one that looked at everything may take
    back what an earlier one said."""
    points = RestorePoint.objects.filter(repository=repository)
    if is_whole:
        points.exclude(damage="").exclude(restic_id__in=_few(hurt)).update(damage="")
    for why in set(hurt.values()):
        ids = [each for each, said in hurt.items() if said == why]
        for start in range(0, len(ids), 500):
            points.filter(restic_id__in=ids[start : start + 500]).update(damage=why[:200])
    _mark_sets(points)


def _mark_sets(points: QuerySet[RestorePoint]) -> None:
    """The streams of a source are of use only together: with one, all of its set are hurt."""
    hurt = points.exclude(damage="").exclude(damage=OF_ITS_SET)
    same = hurt.filter(device=OuterRef("device"), source=OuterRef("source"), made_at=OuterRef("made_at"))
    points.filter(damage="").exclude(part="").filter(Exists(same)).update(damage=OF_ITS_SET)


def _few(hurt: Collection[str]) -> Collection[str]:
    """SQLite takes 32,766 parameters: with more, what is hurt is marked again a moment later."""
    return hurt if len(hurt) < 30_000 else ()


def _tell(repository: Repository, outcome: CheckOutcome) -> None:
    """Write the notice, once for the same damage."""
    said = "\n".join(str(each) for each in outcome.findings[:5])
    mark = hashlib.sha256("\n".join(sorted(str(each) for each in outcome.findings)).encode()).hexdigest()
    hurt = RestorePoint.objects.filter(repository=repository).exclude(damage="").count()
    notices.tell_or_log(
        "repository-damaged",
        key=f"damage-{repository.pk}-{mark[:32]}",
        title=f"{repository.owner.name}: the {repository} is damaged",
        text=f"{hurt} restore points need what is damaged: do not rely on them.\n{said}",
        url=reverse("repository", args=[repository.uuid]),
    )


def forget_old_runs(run: Run) -> None:
    """Remove the oldest runs of this kind that went well: each repository has one a day."""
    good = Run.objects.filter(device=run.device_id, kind=run.kind, state=State.SUCCEEDED)
    kept = list(good.order_by("-number").values_list("pk", flat=True)[:KEPT_RUNS])
    if len(kept) == KEPT_RUNS:
        good.exclude(pk__in=kept).delete()
