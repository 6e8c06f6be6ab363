"""What a restore's address or form names: the device's restore point, and what was picked in it."""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from django.db.models import Max, Q
from django.http import Http404, QueryDict
from django.shortcuts import get_object_or_404

from agents.applications.comebacks import comebacks
from backupsite.fleet.models import Device
from backupsite.recovery.downloads import MOST_PATHS
from backupsite.recovery.folders import Entry, join
from backupsite.recovery.index.reading import Measured, measure
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.picking import find_entries, find_paths, make_entry
from backupsite.recovery.point_page import read_folder
from backupsite.recovery.wishes import outermost
from backupsite.recovery.words import say_what
from backupsite.runs.models import Run

SAME_SOURCE, OTHER_SOURCES = 3, 4


@dataclass(frozen=True)
class Picked:
    """What is to be restored: all of `folder`, or its `entries`."""

    point: RestorePoint
    folder: str
    entries: tuple[Entry, ...]

    @property
    def is_whole_source(self) -> bool:
        return self.folder == self.point.top_folder and not self.entries

    @property
    def words(self) -> str:
        return say_what(self.folder, [entry.name for entry in self.entries])

    @property
    def known_size_bytes(self) -> int | None:
        """Its size; None when a folder is in it and the restore point is not in the index."""
        if self.is_whole_source:
            return self.point.size_bytes
        if self.entries and all(entry.is_file for entry in self.entries):
            return sum(entry.size_bytes for entry in self.entries)
        paths = [join(self.folder, entry.name) for entry in self.entries] or [self.folder]
        measured = measure(self.point, paths)
        return measured.bytes if measured is not None else None

    @property
    def known_file_count(self) -> int | None:
        """How many files; None when a folder is in it, whose files nobody counted."""
        if self.is_whole_source:
            return self.point.file_count
        if self.measured is not None:
            return self.measured.files
        return len(self.entries) if all(each.is_file for each in self.entries) and self.entries else None

    @cached_property
    def measured(self) -> Measured | None:
        """How much it is, as the index says; None while the restore point is not in it."""
        names = [entry.name for entry in self.entries]
        return measure(self.point, [join(self.folder, name) for name in names] or [self.folder])

    @property
    def download_paths(self) -> list[str]:
        """What a download would hold; nothing when it is too much, or what no archive holds by itself."""
        if not self.entries:
            return [self.folder]
        if len(self.entries) == 1 and self.entries[0].kind == "symlink":
            return []
        is_possible = all(entry.kind in ("file", "dir", "symlink") for entry in self.entries)
        if not is_possible or len(self.entries) > MOST_PATHS:
            return []
        return outermost(join(self.folder, entry.name) for entry in self.entries)

    @property
    def is_folder_download(self) -> bool:
        return len(self.entries) != 1 or self.entries[0].is_folder


def find_point(device: Device, text: str) -> RestorePoint | None:
    """Given a restore point's id as typed, return it if it is one of the device; without one the device's
    newest, None when there is none. Raise Http404 when it is another device's or nobody's."""
    found = RestorePoint.objects.filter(device=device)
    found = found.select_related("device", "run", "repository__storage__node")
    if not text:
        # What was saved just before a restore is not proposed: nobody means it without naming it.
        return found.filter(resting_since=None).exclude(run__kind=Run.RESTORE).first()
    try:
        return get_object_or_404(found, pk=uuid.UUID(text))
    except ValueError:
        raise Http404("not an id") from None


def read_picked(point: RestorePoint, given: QueryDict) -> Picked:
    """Given a restore point and what an address or a form names in it, return it. Raise Http404 when it is
    not there."""
    if paths := given.getlist("path"):
        found = find_paths(point, paths)
        above = posixpath.commonpath([entry.folder for entry in found])
        return Picked(point, above, tuple(make_entry(entry, above) for entry in found))
    folder, keys = read_folder(point, given.get("folder")), given.getlist("name")
    return Picked(point, folder, tuple(find_entries(point, folder, keys)) if keys else ())


def offer_points(point: RestorePoint) -> list[RestorePoint]:
    """Given a restore point, return it with the newest ones of its source and the newest of other sources;
    none that was removed. Runs three queries."""
    found = RestorePoint.objects.filter(device=point.device, resting_since=None)
    found = found.select_related("device", "run", "repository__storage__node")
    same = found.filter(source=point.source, part=point.part)
    offered = {each.pk: each for each in same[:SAME_SOURCE]} | {point.pk: point}
    others = found.exclude(source=point.source).exclude(run__kind=Run.RESTORE)
    newest = list(
        others.order_by()
        .values_list("source")
        .annotate(newest=Max("made_at"))
        .order_by("-newest")[:OTHER_SOURCES]
    )
    if newest:
        wanted = Q()
        for source, made_at in newest:
            wanted |= Q(source=source, made_at=made_at)
        offered |= {each.pk: each for each in found.filter(wanted)}
    return sorted(offered.values(), key=lambda each: (each.source != point.source, -each.made_at.timestamp()))


def list_applications(points: Iterable[RestorePoint]) -> list[RestorePoint]:
    """Given restore points that are offered, newest first, return the first of each application that comes
    back by a restore of its own. Pure."""
    first: dict[str, RestorePoint] = {}
    for point in points:
        if point.source.partition(":")[0] in comebacks():
            first.setdefault(point.source, point)
    return list(first.values())
