"""Storing a policy that was checked by its forms, and removing one. Each leaves an audit event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from backupsite.accounts import audit
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device, Tag
from backupsite.fleet.names import make_slug
from backupsite.policies.blocked import Blocked, Hours
from backupsite.policies.models import Policy, Source
from backupsite.policies.saving import store_blocked
from backupsite.policies.schedule import Schedule
from backupsite.policies.selecting import name_devices, refresh_policy


@transaction.atomic
def save_policy(
    actor: Actor,
    policy: Policy | None,
    fields: Mapping[str, Any],
    devices: Iterable[Device],
    sources: Iterable[Mapping[str, Any]],
    now: datetime,
    *,
    blocked: Iterable[Hours] | None = None,
    tags: Iterable[Tag] | None = None,
) -> Policy:
    """Given checked values, create a policy, or change the one that is given, and plan its next runs.

    `devices` are those that it names; its tags select others. Sources and devices that stay keep their rows;
    without `blocked` its blocked hours stay, without `tags` its tags. Raise IntegrityError when the name is
    taken.
    """
    is_new = policy is None
    if policy is None:
        policy = Policy(slug=_free_slug(str(fields["name"])))
    for name, value in fields.items():
        setattr(policy, name, value)
    policy.save()
    _store_sources(policy, sources)
    name_devices(policy, devices)
    if tags is not None:
        policy.tags.set(tags)
    if blocked is not None:
        store_blocked(policy, blocked)
    refresh_policy(policy, now)
    verb = "policy.add" if is_new else "policy.change"
    audit.record(actor.name, verb, policy.name, _describe(policy), address=actor.address)
    return policy


@transaction.atomic
def remove_policy(actor: Actor, policy: Policy) -> None:
    """Remove a policy with its sources and schedule. Its restore points and runs stay."""
    name, detail = policy.name, _describe(policy)
    policy.delete()
    audit.record(actor.name, "policy.remove", name, detail, address=actor.address)


def _free_slug(name: str) -> str:
    stem = make_slug(name, (), fallback="policy")
    taken = set(Policy.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    return make_slug(name, taken, fallback="policy")


def _store_sources(policy: Policy, drafts: Iterable[Mapping[str, Any]]) -> None:
    wanted = {key_of(draft): draft for draft in drafts}
    present = {source.key: source for source in policy.sources.all()}
    policy.sources.exclude(key__in=wanted).delete()
    for key, draft in wanted.items():
        source = present.get(key) or Source(policy=policy)
        for name, value in draft.items():
            setattr(source, name, value)
        source.save()


def key_of(draft: Mapping[str, Any]) -> str:
    """Given a source as its form returned it, return its key in the catalogue. The database says the same."""
    application = draft.get("application", "")
    return f"{application}:{draft['instance']}" if application else str(draft["path"])


def _describe(policy: Policy) -> dict[str, str | int | bool | list[str] | list[int] | None]:
    window = Schedule.of_window(policy)
    return {
        "enabled": policy.is_enabled,
        "schedule": policy.schedule,
        "rpo_s": round(policy.rpo.total_seconds()),
        "blocked_hours": Blocked.of(policy).sentences(),
        "when_blocked": policy.when_blocked,
        "impact": policy.impact,
        "upload_mb_s": policy.upload_mb_s,
        "cold_window": window.sentence() if window is not None else "",
        "sources": [
            f"{source.key} ({source.mode}{', keeps its log' if source.keeps_log else ''})"
            for source in policy.sources.all()
        ],
        "tags": sorted(policy.tags.values_list("name", flat=True)),
        "device_count": policy.assignments.count(),
    }
