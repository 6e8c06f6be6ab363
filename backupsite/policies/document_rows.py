"""Policies of the database as documents, and documents stored in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device
from backupsite.fleet.tags import find_tags
from backupsite.policies.document import FIELD_NAMES, Hours, PolicyState, make_plain
from backupsite.policies.document_own import group_own
from backupsite.policies.document_values import Plain
from backupsite.policies.effective import VALUES
from backupsite.policies.models import Override, Policy, PolicyDevice, Source
from backupsite.policies.overriding import remove_override, set_override
from backupsite.policies.writing import save_policy
from backupsite.repositories.models import Storage

SOURCE_NAMES = (
    "path", "application", "instance", "excludes", "method", "command", "services", "mode",
    "if_hot_impossible", "keeps_log", "is_optional", "is_shared", "accepted_problems", "group",
    "longest_freeze_ms", "longest_downtime_s",
)  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """A policy of the database and what was decided about it."""

    policy: Policy
    state: PolicyState


def read_stored(policies: QuerySet[Policy]) -> list[Stored]:
    """Given policies, return each with its state. Runs six queries."""
    listed = policies.select_related("copy_storage").prefetch_related("sources", "tags", "blocked_hours")
    # Names alone: an object for each of 10,000 devices would take longer than all the rest.
    named: dict[int, list[str]] = defaultdict(list)
    rows = PolicyDevice.objects.filter(is_by_name=True, policy__in=policies.values("pk")).order_by("pk")
    for policy_id, name in rows.values_list("policy_id", "device__name"):
        named[policy_id].append(name)
    own: dict[int, list[tuple[str, str, Plain]]] = defaultdict(list)
    overrides = Override.objects.filter(assignment__policy__in=policies.values("pk")).order_by()
    for policy_id, *row in overrides.values_list(
        "assignment__policy", "assignment__device__name", "field", "value"
    ):
        own[policy_id].append((row[0], row[1], row[2]))
    return [Stored(policy, _state_of(policy, named[policy.pk], own[policy.pk])) for policy in listed]


def _state_of(policy: Policy, named: Sequence[str], own: Iterable[tuple[str, str, Plain]]) -> PolicyState:
    return PolicyState(
        policy.name,
        {name: getattr(policy, name) for name in FIELD_NAMES},
        tuple(named),
        tuple(tag.name for tag in policy.tags.all()),
        tuple(Hours(each.weekdays, each.begins, each.ends) for each in policy.blocked_hours.all()),
        tuple(_fields_of(source) for source in policy.sources.all()),
        policy.copy_storage.name if policy.copy_storage is not None else "",
        group_own(own),
    )


def _fields_of(source: Source) -> Mapping[str, object]:
    return {name: getattr(source, name) for name in SOURCE_NAMES}


@transaction.atomic
def store_states(
    actor: Actor, states: Iterable[PolicyState], stored: Mapping[str, Stored], now: datetime
) -> list[Policy]:
    """Given checked states, and what is there by name in small letters, store those that differ and return
    them. Nothing is written of what says the same: no row, no audit event. Other policies
    stay."""
    changed = []
    devices: dict[str, Device] = {}
    for state in states:
        present = stored.get(state.name.lower())
        if present is None or make_plain(present.state) != make_plain(state):
            # More names than a query takes variables; and a fleet is read once.
            devices = devices or {device.name: device for device in Device.objects.all()}
            named = [devices[name] for name in state.devices]
            changed.append(_store(actor, present, state, named, now))
    return changed


def _store(
    actor: Actor, present: Stored | None, state: PolicyState, devices: list[Device], now: datetime
) -> Policy:
    if present is not None and _without_own(present.state) == _without_own(state):
        saved = present.policy
    else:
        saved = _save(actor, present.policy if present is not None else None, state, devices, now)
    _store_own(actor, saved, state, now)
    return saved


def _without_own(state: PolicyState) -> Mapping[str, Plain]:
    return make_plain(replace(state, own=()))


def _save(
    actor: Actor, policy: Policy | None, state: PolicyState, devices: list[Device], now: datetime
) -> Policy:
    storage = Storage.objects.get(name=state.copy_storage) if state.copy_storage else None
    fields = {"name": state.name, **state.fields, "copy_storage": storage}
    tags = find_tags(state.tags)
    return save_policy(actor, policy, fields, devices, state.sources, now, blocked=state.blocked, tags=tags)


def _store_own(actor: Actor, policy: Policy, state: PolicyState, now: datetime) -> None:
    """Let the devices of a stored policy have these values of their own, and no others."""
    wanted = {each.device: each.values for each in state.own}
    rows = PolicyDevice.objects.filter(policy=policy).select_related("policy", "device")
    concerned = rows.filter(overrides__isnull=False) | rows.filter(device__name__in=wanted)
    for row in concerned.distinct():
        values = wanted.get(row.device.name, {})
        for name, stored in values.items():
            set_override(actor, row, VALUES[name], stored, now)
        for name in row.overrides.exclude(field__in=values).values_list("field", flat=True):
            remove_override(actor, row, VALUES[name], now)
