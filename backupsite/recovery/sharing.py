"""What devices share: restore points of a service that moves between them."""

from __future__ import annotations

from typing import cast

from django.db.models import OuterRef, Q, QuerySet, Subquery

from backupsite.fleet.models import Device
from backupsite.policies.models import PolicyDevice, Source
from backupsite.recovery.models import RestorePoint


def of_others(device: Device) -> Q | None:
    """Given a device, return the condition for what others stored of the sources that they share with it;
    None when it shares nothing. Runs one query."""
    shared = Source.objects.filter(is_shared=True, policy__assignments__device=device)
    condition: Q | None = None
    for policy, key in shared.values_list("policy_id", "key"):
        members = PolicyDevice.objects.filter(policy=policy).exclude(device=device).values("device")
        one = Q(policy=policy, source=key, device__in=members)
        condition = one if condition is None else condition | one
    return condition


def list_points(device: Device) -> QuerySet[RestorePoint]:
    """Given a device, return its restore points and those that others stored of what they share with it, none
    that was removed. Runs one query by itself."""
    own, others = Q(device=device), of_others(device)
    found = RestorePoint.objects.filter(own if others is None else own | others, resting_since=None)
    return found.select_related("device", "policy", "run")


def list_newest_of_others(device: Device) -> list[RestorePoint]:
    """Given a device, return for each source that it shares the newest restore point, or one of its streams,
    where another device made it. Runs at most two queries."""
    others = of_others(device)
    if others is None:
        return []
    # What is damaged or failed its drill is not proposed: it does not count either.
    same = RestorePoint.objects.filter(
        Q(device=device) | Q(device__in=_members()), policy=OuterRef("policy"), source=OuterRef("source"),
        resting_since=None, damage="",
    ).exclude(drill_state=RestorePoint.REFUTED)  # fmt: skip
    found = RestorePoint.objects.filter(
        others, pk=Subquery(same.order_by("-made_at", "part").values("pk")[:1])
    )
    return list(found.select_related("device").order_by("source"))


def _members() -> QuerySet[PolicyDevice, dict[str, int]]:
    members = PolicyDevice.objects.filter(policy=OuterRef("policy")).values("device")
    return cast("QuerySet[PolicyDevice, dict[str, int]]", members)
