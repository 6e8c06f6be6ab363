"""What works now, and which limits are reached by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from backupsite.fleet.models import Device, Tag
from backupsite.repositories import nodes
from backupsite.repositories.models import Node, Storage
from backupsite.runs.models import Outage, Run
from backupsite.runs.outages import list_open
from backupsite.runs.states import State

# The database lets one of these work on a device at a time.
ALONE_ON_DEVICE = (*Run.KINDS_ON_DEVICE, *Run.KINDS_ON_REPOSITORY)
# These use no repository; all others count for its storage.
WITHOUT_STORAGE = (Run.PROBE, Run.SCAN)


class Full(NamedTuple):
    """A storage or a site for which as many runs work as may."""

    name: str
    running: int
    most: int


@dataclass(frozen=True)
class Standing:
    """`busy` is the number of the run that works on a device, by the device. `full_*` are by their ids;
    `outages` are those that last, `others` the nodes beside the console's machine."""

    busy: Mapping[int, int]
    has_drill: bool
    full_storages: Mapping[int, Full]
    full_sites: Mapping[int, Full]
    outages: Sequence[Outage]
    others: Sequence[Node] = ()


class _Running(NamedTuple):
    number: int
    kind: str
    device: int
    storage: int | None
    second_storage: int | None

    @property
    def storages(self) -> set[int]:
        used = {self.storage, self.second_storage if self.kind == Run.COPY else None} - {None}
        return set() if self.kind in WITHOUT_STORAGE else {each for each in used if each is not None}


def read_standing() -> Standing:
    """Return what works now and what is full by it. Runs five queries, one more when a site has a limit."""
    running = [
        _Running(*row)
        for row in Run.objects.filter(state=State.RUNNING)
        .order_by()
        .values_list(
            "number",
            "kind",
            "device_id",
            "device__repository__storage_id",
            "device__repository__second_copy__storage_id",
        )
    ]
    return Standing(
        busy={run.device: run.number for run in running if run.kind in ALONE_ON_DEVICE},
        has_drill=any(run.kind == Run.DRILL for run in running),
        full_storages=_find_full_storages(running),
        full_sites=_find_full_sites(running),
        outages=list_open(),
        others=nodes.others(),
    )


def _find_full_storages(running: Iterable[_Running]) -> dict[int, Full]:
    used = Counter(storage for run in running for storage in run.storages)
    limited = Storage.objects.filter(most_runs__isnull=False).values_list("pk", "name", "most_runs")
    return {pk: Full(name, used[pk], most or 0) for pk, name, most in limited if used[pk] >= (most or 0)}


def _find_full_sites(running: Iterable[_Running]) -> dict[int, Full]:
    limited = list(
        Tag.objects.filter(is_site=True, most_runs__isnull=False).values_list("pk", "name", "most_runs")
    )
    if not limited:
        return {}
    there = Counter(run.device for run in running if run.kind in Run.KINDS_ON_DEVICE)
    tagged = Device.tags.through.objects.filter(tag__in=[pk for pk, *_ in limited], device__in=list(there))
    used: Counter[int] = Counter()
    for site, device in tagged.values_list("tag_id", "device_id"):
        used[site] += there[device]
    return {pk: Full(name, used[pk], most or 0) for pk, name, most in limited if used[pk] >= (most or 0)}
