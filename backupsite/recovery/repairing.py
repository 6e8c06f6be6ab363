"""A repository is repaired: what a check found damaged goes, and comes back from the other copy of it."""

from __future__ import annotations

from agents.events import Level, Said, Tell
from agents.flow import Control
from agents.maintaining.mending import Copied, mend, refill
from agents.maintaining.words import CheckOutcome
from agents.repositories import RepositoryPlace
from backupsite.engine import console_restic
from backupsite.recovery.models import PointCopy, RestorePoint
from backupsite.recovery.places import place_of
from backupsite.repositories.models import Repository


def find_other(repository: Repository) -> Repository | None:
    """Return the other copy of a repository, when it can be relied on: of the first the second, and the other
    way round."""
    found = Repository.objects.select_related("storage", "device", "copy_of__device").exclude(restic_id="")
    if repository.copy_of_id is not None:
        found = found.filter(pk=repository.copy_of_id)
    else:
        found = found.filter(copy_of=repository)
    return found.filter(damage="").first()


def repair(repository: Repository, outcome: CheckOutcome, *, tell: Tell, control: Control) -> None:
    """Given what a check has just found, repair it. The caller checks again afterwards: what is still hurt
    then is lost.

    Raise StorageMissing before anything is changed when the other copy is not there, an AgentError when
    restic cannot do it."""
    other = find_other(repository)
    # Both are asked for before anything is taken out: without the other one nothing would come back.
    place, copied = place_of(repository), _copied(repository, other) if other is not None else None
    mend(place, console_restic(), outcome.findings, tell=tell, control=control)
    if copied is None:
        tell(Said("There is no other copy: what the device still has is stored again by its next backup.",
                  Level.WARNING))  # fmt: skip
        return
    renamed = refill(place, console_restic(), copied, outcome.hurt.keys(), tell=tell, control=control)
    control.raise_if_stopped()
    for old, new in renamed.items():
        _rename(repository, old, new)


def _copied(repository: Repository, other: Repository) -> Copied:
    place: RepositoryPlace = place_of(other)
    if repository.copy_of_id is None:
        pairs = PointCopy.objects.filter(repository=other).values_list("point__restic_id", "restic_id")
    else:
        whole = PointCopy.objects.filter(repository=repository, point__damage="")
        pairs = whole.values_list("restic_id", "point__restic_id")
    return Copied(place, dict(pairs))


def _rename(repository: Repository, old: str, new: str) -> None:
    """Write down the new name of a snapshot whose record was lost and came back."""
    if repository.copy_of_id is None:
        RestorePoint.objects.filter(repository=repository, restic_id=old).update(restic_id=new)
    else:
        PointCopy.objects.filter(repository=repository, restic_id=old).update(restic_id=new)
