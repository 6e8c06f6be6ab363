"""Why a run waits, in words that follow "It waits: "."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from backupsite.fleet.models import Device
from backupsite.repositories import nodes
from backupsite.repositories.models import Repository
from backupsite.runs import queue
from backupsite.runs.lease import waits_for_cold
from backupsite.runs.models import Outage, Run
from backupsite.runs.outages import is_part, name_of, read_by_node
from backupsite.runs.requests import SCHEDULE
from backupsite.runs.standing import ALONE_ON_DEVICE, Full, Standing, read_standing
from backupsite.runs.states import State
from backupsite.web.formatting import format_count
from backupsite.web.visible import make_visible


@dataclass(frozen=True)
class Wait:
    """`text` is ready to be shown. `until` is a moment that matters, named by `until_word`."""

    text: str
    until: datetime | None = None
    until_word: str = ""


def explain(runs: Iterable[Run], now: datetime) -> dict[UUID, Wait]:
    """Given runs with their devices, return why those that wait do. Runs no query when none waits, else those
    of `read_standing`, one about cold windows, and one each about storages and sites when one is full."""
    waiting = [run for run in runs if run.state == State.QUEUED]
    if not waiting:
        return {}
    standing = read_standing()
    devices = {run.device_id for run in waiting}
    storages = _read_storages(devices) if standing.full_storages else {}
    has_sites = standing.full_sites or standing.outages
    sites = _read_sites(devices) if has_sites else {}
    dark = _find_outages(waiting, standing.outages, sites)
    silent = _read_silent({_placed_by(run) for run in waiting}, standing, now)
    ids = [run.pk for run in waiting]
    after_cold = set(Run.objects.filter(waits_for_cold(now), pk__in=ids).values_list("pk", flat=True))
    return {
        run.pk: silent[_placed_by(run)]
        if _placed_by(run) in silent
        else _explain(run, standing, storages, sites, dark.get(run.pk), now, run.pk in after_cold)
        for run in waiting
    }


def explain_one(run: Run, now: datetime) -> Wait | None:
    """Given a run, return why it waits, and how many go before it; None when it does not wait."""
    wait = explain([run], now).get(run.pk)
    if wait != _FOR_WORKER or queue.queue_of(run.kind) == queue.INTERACTIVE:
        return wait
    before = Run.objects.filter(state=State.QUEUED, ended_at=None, place__lt=run.place).count()
    return Wait(f"{wait.text}, {format_count(before)} others go before it") if before > 1 else wait


_FOR_WORKER = Wait("for a free worker")


def _explain(
    run: Run,
    standing: Standing,
    storages: Mapping[int, set[int]],
    sites: Mapping[int, set[int]],
    outage: Outage | None,
    now: datetime,
    is_after_cold: bool,
) -> Wait:
    if run.not_before is not None and run.not_before > now:
        return Wait(run.error_text or "its time has not come", run.not_before, "not before")
    name = make_visible(run.device.name)
    if run.kind in ALONE_ON_DEVICE and run.device_id in standing.busy:
        return Wait(f"run {standing.busy[run.device_id]} works on {name}")
    if run.kind == Run.DRILL and standing.has_drill:
        return Wait("drills work one at a time")
    if queue.queue_of(run.kind) == queue.INTERACTIVE:
        return _FOR_WORKER
    if full := _find(standing.full_storages, storages.get(run.device_id, set())):
        return Wait(f"{full.running} of {full.most} runs of the storage {make_visible(full.name)} work")
    if full := _find(standing.full_sites, sites.get(run.device_id, set())):
        return Wait(f"{full.running} of {full.most} runs of site {make_visible(full.name)} work")
    if outage is not None:
        return Wait(f"{make_visible(name_of(outage))} does not answer", outage.next_try_at, "next try")
    if is_after_cold:
        return Wait("the cold backup of this device goes first")
    return _FOR_WORKER


def _placed_by(run: Run) -> int:
    """Return the device whose node works on a run."""
    return run.beside_id or run.device_id


def _read_silent(devices: Collection[int], standing: Standing, now: datetime) -> dict[int, Wait]:
    """Return, for the devices whose node is not heard, what to say. One query for each such node."""
    found: dict[int, Wait] = {}
    for node in standing.others:
        if nodes.is_heard(node, now):
            continue
        name = make_visible(node.name)
        wait = Wait(f"the node {name} was never started")
        if node.heard_at is not None:
            wait = Wait(f"the node {name} is silent", node.heard_at, "last heard")
        mine = nodes.list_devices([node]).filter(pk__in=devices).values_list("pk", flat=True)
        found |= dict.fromkeys(mine, wait)
    return found


def _find(full: Mapping[int, Full], of_device: set[int]) -> Full | None:
    return next((each for pk, each in full.items() if pk in of_device), None)


def _find_outages(
    runs: Iterable[Run], outages: Sequence[Outage], sites: Mapping[int, set[int]]
) -> dict[UUID, Outage]:
    """Return, for the runs that wait for the end of an outage, which one."""
    held = [run for run in runs if run.requested_by == SCHEDULE and run.kind in Run.KINDS_ON_DEVICE]
    by_node = read_by_node({run.device_id for run in held}, outages)
    return {
        run.pk: outage
        for run in held
        for outage in reversed(outages)
        if is_part(run.device, sites.get(run.device_id, set()), by_node, outage)
    }


def _read_storages(devices: Collection[int]) -> dict[int, set[int]]:
    rows = Repository.objects.filter(device__in=devices)
    return _by_device(rows.values_list("device_id", "storage_id"))


def _read_sites(devices: Collection[int]) -> dict[int, set[int]]:
    through = Device.tags.through.objects.filter(device__in=devices, tag__is_site=True)
    return _by_device(through.values_list("device_id", "tag_id"))


def _by_device(rows: Iterable[tuple[int | None, int]]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for device, value in rows:
        if device is not None:
            found[device].add(value)
    return found
