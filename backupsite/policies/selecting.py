"""Which devices a policy covers: those that a person named, and those that its tags select.

What tags select joins and leaves by itself: whoever changes tags, or takes a device out of service, calls
`refresh_devices`; whoever changes what a policy selects calls `refresh_policy`; each in the same transaction.
A device that was named stays until somebody takes it off.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Literal

from django.db import transaction
from django.db.models import QuerySet

from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.saving import plan_next

Step = Callable[[Policy, list[int], datetime], object]
_before_leaving: list[Step] = []


def when_leaving(step: Step) -> None:
    """Have this called with a policy and devices of it, in the transaction that takes them off it, before."""
    if step not in _before_leaving:
        _before_leaving.append(step)


def find_tagged(
    tags: Collection[int | str], *, needs_all: bool, key: Literal["pk", "name"] = "pk"
) -> QuerySet[Device]:
    """Return the devices in service that have one of these tags, or all of them. Without tags: none. By their
    names, tags that nobody has made yet may be among them."""
    found = Device.objects.filter(retired_at=None)
    if not tags:
        return found.none()
    if not needs_all:
        return found.filter(**{f"tags__{key}__in": tags}).distinct()
    for tag in tags:
        found = found.filter(**{f"tags__{key}": tag})
    return found


def name_devices(policy: Policy, devices: Iterable[Device]) -> None:
    """Make these the devices that a policy names. One that is not named any more stays if tags select it, by
    the `refresh_policy` that comes after this."""
    wanted = {device.pk for device in devices}
    rows = dict(policy.assignments.values_list("device_id", "is_by_name"))
    unnamed = [pk for pk, is_by_name in rows.items() if is_by_name and pk not in wanted]
    named = [pk for pk, is_by_name in rows.items() if not is_by_name and pk in wanted]
    for ids, is_by_name in ((unnamed, False), (named, True)):
        for some in _batches(ids):
            policy.assignments.filter(device_id__in=some).update(is_by_name=is_by_name)
    new = [PolicyDevice(policy=policy, device_id=pk) for pk in sorted(wanted - rows.keys())]
    PolicyDevice.objects.bulk_create(new, batch_size=500)


@transaction.atomic
def refresh_policy(policy: Policy, now: datetime) -> set[int]:
    """Have the devices join that the tags of a policy select, and those leave that they do not; plan when all
    are due. Return the ids of those that came or left, and of all where they share a source. Raise ValueError
    for a schedule that is none."""
    tags = list(policy.tags.values_list("pk", flat=True))
    tagged = set(find_tagged(tags, needs_all=policy.needs_all_tags).values_list("pk", flat=True))
    rows = dict(policy.assignments.values_list("device_id", "is_by_name"))
    leaving = [pk for pk, is_by_name in rows.items() if not is_by_name and pk not in tagged]
    for some in _batches(leaving):
        for step in _before_leaving:
            step(policy, some, now)
        policy.assignments.filter(device_id__in=some, is_by_name=False).delete()
    coming = sorted(tagged - rows.keys())
    PolicyDevice.objects.bulk_create(
        [PolicyDevice(policy=policy, device_id=pk, is_by_name=False) for pk in coming], batch_size=500
    )
    plan_next(policy, now)
    changed = {*leaving, *coming}
    # Who leaves takes along what it stored of a shared source: the others stand another way then.
    if changed and policy.sources.filter(is_shared=True).exists():
        changed |= set(policy.assignments.values_list("device_id", flat=True))
    return changed


@transaction.atomic
def refresh_devices(now: datetime) -> set[int]:
    """Devices got or lost tags, or came into service or left it: have every policy that selects by tags look
    again. Return the ids of the devices that came to a policy or left one."""
    changed: set[int] = set()
    for policy in Policy.objects.filter(tags__isnull=False).distinct():
        changed |= refresh_policy(policy, now)
    return changed


def _batches(ids: list[int]) -> Iterable[list[int]]:
    return (ids[start : start + 500] for start in range(0, len(ids), 500))
