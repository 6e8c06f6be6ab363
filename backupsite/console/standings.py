"""What several pages tell about devices beside their exposure. Few queries for any number of devices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, Max, Min, OuterRef, QuerySet

from backupsite.fleet.models import HostKey
from backupsite.policies.models import PolicyDevice
from backupsite.runs.models import Run
from backupsite.runs.states import State

GOOD = (State.SUCCEEDED, State.WARNINGS)
UNSUCCESSFUL = (State.FAILED, State.ERRORED, State.LOST)
# Made by looking around, not by protecting: not told on the pages of the fleet and of a device.
QUIET_KINDS = (Run.BROWSE, Run.DOWNLOAD)
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
    """Given devices, return when the next scheduled run of each is due."""
    rows = PolicyDevice.objects.filter(
        device_id__in=device_ids, policy__is_enabled=True, next_due__isnull=False
    ).values_list("device_id")
    return dict(rows.annotate(due=Min("next_due")).values_list("device_id", "due"))


def waiting_host_keys(device_ids: Collection[int] | None = None) -> dict[int, bool]:
    """Given devices or all, return those whose host key needs a person: True when an approved one changed.

    A key of a further type, beside an approved one, waits without hurry: the device is reached already.
    """
    pending_keys = HostKey.objects.filter(state=HostKey.PENDING)
    if device_ids is not None:
        pending_keys = pending_keys.filter(device_id__in=device_ids)
    approved_keys = HostKey.objects.filter(
        state=HostKey.APPROVED, device__in=pending_keys.values("device_id")
    )
    pending, approved = _types_by_device(pending_keys), _types_by_device(approved_keys)
    return {
        device_id: device_id in approved
        for device_id, types in pending.items()
        if device_id not in approved or types & approved[device_id]
    }


def _types_by_device(keys: QuerySet[HostKey]) -> dict[int, set[str]]:
    types: dict[int, set[str]] = {}
    for device_id, key_type in keys.values_list("device_id", "key_type"):
        types.setdefault(device_id, set()).add(key_type)
    return types
