"""A tag goes: which policies select other devices without it, and which would select more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from backupsite.accounts import audit
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Tag
from backupsite.policies.models import Policy
from backupsite.policies.selecting import find_tagged, refresh_policy


@dataclass(frozen=True)
class Without:
    """What a policy is without the tag: how many devices leave it, how many would join it."""

    policy: Policy
    leaving: int
    joining: int
    is_last: bool

    @property
    def widens(self) -> bool:
        """A policy that needs all of its tags selects more with one less, today or once a device comes."""
        return self.policy.needs_all_tags and not self.is_last


def forecast(tag: Tag) -> list[Without]:
    """Given a tag, return what becomes of each policy that selects by it. Runs four queries a policy."""
    return [_without(policy, tag) for policy in tag.policies.order_by("name")]


def _without(policy: Policy, tag: Tag) -> Without:
    tags = [pk for pk in policy.tags.values_list("pk", flat=True) if pk != tag.pk]
    wanted = set(find_tagged(tags, needs_all=policy.needs_all_tags).values_list("pk", flat=True))
    rows = dict(policy.assignments.values_list("device_id", "is_by_name"))
    leaving = [pk for pk, is_by_name in rows.items() if not is_by_name and pk not in wanted]
    return Without(policy, len(leaving), len(wanted - rows.keys()), is_last=not tags)


@transaction.atomic
def remove_tag(actor: Actor, tag: Tag, now: datetime) -> set[int]:
    """Take a tag from its devices and policies and remove it; return the ids of the devices that left a
    policy. Raise ValueError with a sentence when a policy would select more devices without it."""
    found = forecast(tag)
    if wider := [each.policy.name for each in found if each.widens]:
        raise ValueError(
            f"A device needs all tags of {', '.join(wider)}: without this one more devices would join. "
            "Change what these policies select first."
        )
    name, count = tag.name, tag.devices.count()
    tag.delete()
    changed: set[int] = set()
    for each in found:
        changed |= refresh_policy(each.policy, now)
    policies = [each.policy.name for each in found]
    detail: dict[str, str | int | bool | list[str] | list[int] | None] = {
        "device_count": count,
        "policies": policies,
    }
    audit.record(actor.name, "tag.remove", name, detail, address=actor.address)
    return changed
