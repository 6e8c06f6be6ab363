"""Where restore points are read: in their repository, or in its second copy. Both hold the same content under
other names of restic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from agents.applications.stored import Stored
from agents.errors import PlanRefused
from backupsite.recovery.models import PointCopy, RestorePoint
from backupsite.repositories.models import Repository
from backupsite.repositories.presence import why_not_there

# What a request says; BEST is said by nobody who chose: the first one while nothing is wrong with it.
FIRST, COPY, BEST = "first", "copy", ""


@dataclass(frozen=True)
class Origin:
    """A repository that holds what is read. `ids` are its names of snapshots by those of the first one; empty
    in the first one. `why` says why it is not the first one."""

    repository: Repository
    ids: Mapping[str, str]
    why: str = ""

    @property
    def is_copy(self) -> bool:
        return bool(self.ids)

    @property
    def sentence(self) -> str:
        """What a log says of it; "" of the first one."""
        if not self.is_copy:
            return ""
        hurt = "A check found damage in that copy: what needs it fails." if self.repository.damage else ""
        said = (f"It is read from the second copy in {self.repository.storage.name}.", self.why, hurt)
        return " ".join(each for each in said if each)

    def name_of(self, restic_id: str) -> str:
        """Given the name of a snapshot in the first repository, return its name here."""
        return self.ids.get(restic_id, restic_id)

    def of(self, stored: Stored) -> Stored:
        """Given what the first repository holds of a source, return it with the names of here."""
        parts = (replace(part, restic_id=self.name_of(part.restic_id)) for part in stored.parts)
        return replace(stored, parts=tuple(parts))


def find_origin(points: Sequence[RestorePoint], wanted: str = BEST) -> Origin:
    """Given restore points of one repository, return where they are read; BEST is decided by a look at the
    storage. Runs at most one query. Raise PlanRefused when the second copy is wanted and lacks one."""
    first = Origin(points[0].repository, {})
    why = "" if wanted == FIRST else why_not_first(points)
    if wanted == FIRST or (wanted == BEST and not why):
        return first
    copy = find_copy(points)
    if copy is not None:
        return replace(copy, why=why)
    if wanted == COPY:
        raise PlanRefused("The second copy does not hold this restore point.", remedy="Read the first one.")
    return first


def find_copy(points: Sequence[RestorePoint]) -> Origin | None:
    """Given restore points of one repository, return its second copy if that holds all of them. Runs one
    query."""
    copies = list_copies(points)
    found = list(copies.values())
    if len(copies) != len({point.pk for point in points}):
        return None
    ids = {point.restic_id: copies[point.pk].restic_id for point in points}
    return Origin(found[0].repository, ids)


def list_copies(points: Iterable[RestorePoint]) -> dict[UUID, PointCopy]:
    """Return the second copies of restore points, by the restore point. Runs one query."""
    rows = PointCopy.objects.filter(point__in=list(points))
    return {row.point_id: row for row in rows.select_related("repository__storage")}


def why_not_first(points: Sequence[RestorePoint]) -> str:
    """Return in a sentence why restore points are better not read in their repository; "" when nothing is
    known against it. Asks the disk."""
    if any(point.damage for point in points):
        return "A check found the first one damaged."
    return why_not_there(points[0].repository)
