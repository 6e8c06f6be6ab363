"""What several pages tell about devices beside their exposure. Few queries for any number of devices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet

from backupsite.fleet.models import Device, HostKey
from backupsite.policies.dues import IS_DUE, earliest_due
from backupsite.policies.models import PolicyDevice
from backupsite.runs.models import Run
from backupsite.runs.states import State

GOOD = (State.SUCCEEDED, State.WARNINGS)
UNSUCCESSFUL = (State.FAILED, State.ERRORED, State.LOST)
# Made by looking around, or all the time: not told on the pages of the fleet and of a device.
QUIET_KINDS = (Run.BROWSE, Run.DOWNLOAD, Run.FORECAST, Run.LOG, Run.SAMPLE, Run.CHECK, Run.COPY)
# An older failure without a good run since shows as a device outside its target anyway.
LOOK_BACK = timedelta(days=14)


def newest_backups(device_ids: Collection[int]) -> dict[int, Run]:
    """Given devices, return the newest backup run of each, whatever its state. None has no entry."""
    backups = Run.objects.filter(device_id__in=device_ids, kind=Run.BACKUP).order_by()
    newest = backups.values("device_id").annotate(newest=Max("number")).values("newest")
    return {run.device_id: run for run in Run.objects.filter(number__in=newest)}


@dataclass(frozen=True)
class Failure:
    """The newest backup that failed with no good one after it, and how many did so in a row."""

    run: Run
    count: int


def find_failures(now: datetime, device_ids: Collection[int]) -> dict[int, Failure]:
    """Given few devices, return those whose backups fail now: a run that waits or works does not hide it.
    Runs two queries."""
    failed = Run.objects.filter(
        device_id__in=device_ids, kind=Run.BACKUP, state__in=UNSUCCESSFUL, queued_at__gte=now - LOOK_BACK
    )
    rows = failed.filter(~Exists(_later_good())).order_by().values_list("device_id")
    counts = {newest: count for _, newest, count in rows.annotate(newest=Max("number"), count=Count("pk"))}
    runs = Run.objects.filter(number__in=counts)
    return {run.device_id: Failure(run, counts[run.number]) for run in runs}


def list_failing(now: datetime) -> set[int]:
    """Return all devices whose backups fail now. Looks at the newest failure of each only: a whole fleet may
    have failed for days. Runs one query."""
    failed = Run.objects.filter(kind=Run.BACKUP, state__in=UNSUCCESSFUL, queued_at__gte=now - LOOK_BACK)
    newest = failed.order_by().values("device_id").annotate(newest=Max("number")).values("newest")
    still = Run.objects.filter(~Exists(_later_good()), number__in=newest)
    return set(still.order_by().values_list("device_id", flat=True))


def _later_good() -> QuerySet[Run]:
    return Run.objects.filter(
        device=OuterRef("device"), kind=Run.BACKUP, state__in=GOOD, number__gt=OuterRef("number")
    )


def next_dues(device_ids: Collection[int]) -> dict[int, datetime]:
    """Given devices, return when the next scheduled run of each is due, hot or cold."""
    rows = PolicyDevice.objects.filter(IS_DUE, device_id__in=device_ids, policy__is_enabled=True)
    return dict(rows.values_list("device_id").annotate(due=earliest_due()).values_list("device_id", "due"))


def waiting_host_keys(device_ids: Collection[int] | None = None) -> dict[int, bool]:
    """Given devices or all, return those whose host key needs a person: True when an approved one changed.

    A key of a further type, beside an approved one, waits without hurry: the device is reached already.
    A jump host's key counts for each device behind it. Runs two queries, a third where a jump host waits.
    """
    pending_keys = HostKey.objects.filter(state=HostKey.PENDING)
    if device_ids is not None:
        pending_keys = pending_keys.filter(
            Q(device_id__in=device_ids) | Q(jump_host__devices__in=device_ids)
        ).distinct()
    approved_keys = HostKey.objects.filter(
        Q(device__in=pending_keys.exclude(device=None).values("device_id"))
        | Q(jump_host__in=pending_keys.exclude(jump_host=None).values("jump_host_id")),
        state=HostKey.APPROVED,
    )
    pending, approved = _types_by_owner(pending_keys), _types_by_owner(approved_keys)
    waiting = {
        owner: owner in approved
        for owner, types in pending.items()
        if owner not in approved or types & approved[owner]
    }
    return _by_device(waiting, device_ids)


# A device and a jump host: one of the two is None.
Owner = tuple[int | None, int | None]


def _by_device(waiting: dict[Owner, bool], device_ids: Collection[int] | None) -> dict[int, bool]:
    found = {device_id: changed for (device_id, _), changed in waiting.items() if device_id is not None}
    jump_hosts = {jump_id: changed for (_, jump_id), changed in waiting.items() if jump_id is not None}
    if jump_hosts:
        behind = Device.objects.filter(jump_host_id__in=jump_hosts)
        if device_ids is not None:
            behind = behind.filter(pk__in=device_ids)
        for device_id, jump_id in behind.order_by().values_list("pk", "jump_host_id"):
            found[device_id] = found.get(device_id, False) or jump_hosts[jump_id]
    return found


def _types_by_owner(keys: QuerySet[HostKey]) -> dict[Owner, set[str]]:
    types: dict[Owner, set[str]] = {}
    for device_id, jump_id, key_type in keys.values_list("device_id", "jump_host_id", "key_type"):
        types.setdefault((device_id, jump_id), set()).add(key_type)
    return types
