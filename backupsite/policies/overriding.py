"""A device gets a value of its own, or the policy's again. Each leaves an audit event."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from backupsite.accounts import audit
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device
from backupsite.policies.document_values import Plain
from backupsite.policies.effective import TARGET, VALUES, Value, apply
from backupsite.policies.models import Override, Policy, PolicyDevice
from backupsite.policies.saving import plan_next


@transaction.atomic
def set_override(actor: Actor, row: PolicyDevice, value: Value, stored: Plain, now: datetime) -> bool:
    """Given a device under a policy, let it have a value of its own, as `Value.write` gives it, and plan when
    it is next due. What equals the policy's is one all the same: it stays when the policy changes. Return
    False when it is that already. Raise ValueError when the value cannot be read."""
    apply(row.policy, {value.name: stored})
    before = Override.objects.select_for_update().filter(assignment=row, field=value.name).first()
    if before is not None and before.value == stored:
        return False
    Override.objects.update_or_create(
        assignment=row, field=value.name, defaults={"value": stored, "made_by": actor.name, "made_at": now}
    )
    _follow(actor, row, value, before.value if before is not None else None, stored, now)
    return True


@transaction.atomic
def remove_override(actor: Actor, row: PolicyDevice, value: Value, now: datetime) -> bool:
    """Let the policy's value hold again. Return False when it does."""
    before = Override.objects.select_for_update().filter(assignment=row, field=value.name).first()
    if before is None:
        return False
    before.delete()
    _follow(actor, row, value, before.value, None, now)
    return True


def _follow(
    actor: Actor, row: PolicyDevice, value: Value, before: Plain | None, after: Plain | None, now: datetime
) -> None:
    if value.name == TARGET:
        # Another target is another promise: whether it is missed is told anew.
        PolicyDevice.objects.filter(pk=row.pk).update(overdue_told_at=None)
    plan_next(row.policy, now, only=row.pk)
    verb = "device.override" if after is not None else "device.override-end"
    detail = {"policy": row.policy.name, "value": value.name, "before": _say(before), "after": _say(after)}
    audit.record(actor.name, verb, row.device.name, detail, address=actor.address)


def _say(stored: Plain | None) -> str | None:
    return stored if stored is None or isinstance(stored, str) else json.dumps(stored)


@dataclass(frozen=True)
class Differing:
    """The devices that differ from a policy: how many, how many for each value, and the first of them."""

    count: int = 0
    values: Mapping[str, int] = field(default_factory=dict)
    listed: Sequence[tuple[Device, str]] = ()

    @property
    def sentence(self) -> str:
        """Like "3 devices differ: Target (RPO) (2), When (1)."; "" when none does."""
        if not self.count:
            return ""
        named = ", ".join(f"{label} ({count})" for label, count in sorted(self.values.items()))
        return f"{self.count:,} device{'s differ' if self.count > 1 else ' differs'}: {named}."


def find_differing(policy: Policy, most: int = 20) -> Differing:
    """Given a policy, return which of its devices differ from it. Runs two queries."""
    overrides = Override.objects.filter(assignment__policy=policy).order_by("assignment__device__name")
    rows = list(overrides.values_list("assignment__device_id", "field"))
    labels: dict[int, list[str]] = defaultdict(list)
    for device, name in rows:
        labels[device].append(VALUES[name].label)
    devices = Device.objects.in_bulk(list(labels)[:most])
    return Differing(
        len(labels),
        Counter(VALUES[name].label for _, name in rows),
        [(devices[pk], ", ".join(sorted(labels[pk]))) for pk in list(labels)[:most]],
    )
