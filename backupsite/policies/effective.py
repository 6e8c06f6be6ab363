"""Which values of a policy hold on a device: the policy's, or the device's own. Pure but for `read_own`.

An override replaces one *value*, which may be several fields of the model: a schedule is its kind and its
time. It is stored in the words of the policy's file, and read whenever the value is.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.db.models import QuerySet

from backupsite.fleet.models import Device
from backupsite.policies.document import FIELDS, KEEP, make_plain_fields, make_plain_when
from backupsite.policies.document_values import Plain
from backupsite.policies.document_when import KINDS, WHEN_VALUES, fields_of
from backupsite.policies.models import Override, Policy
from backupsite.policies.retention import Rules
from backupsite.policies.schedule import Schedule

# The fields of an override -> its value as it is stored.
Own = Mapping[str, Any]
NOTHING: Final[Own] = {}
TARGET, WHEN, KEPT = "rpo", "schedule", "keep"
_BY_NAME = {field.name: field for field in FIELDS}
# How long a removed restore point rests is the policy's alone.
_KEPT = tuple(field for field in KEEP if field.name != "rest")


@dataclass(frozen=True)
class Value:
    """A value that a device may have of its own. `read` gives fields of the model for what is stored,
    `write` what is stored for a policy, `say` a policy's value in words."""

    name: str
    label: str
    read: Callable[[Any], dict[str, Any]]
    write: Callable[[Policy], Plain]
    say: Callable[[Policy], str]


@dataclass(frozen=True)
class Effective:
    """A value on a device: what holds, what the policy says, and the override when it is the device's own."""

    value: Value
    words: str
    of_policy: str
    override: Override | None = None

    @property
    def is_own(self) -> bool:
        return self.override is not None


def _read_when(stored: Any) -> dict[str, Any]:
    ((key, said),) = stored.items()
    return fields_of(KINDS[key], WHEN_VALUES[key].read(str(said)))


def _read_kept(stored: Any) -> dict[str, Any]:
    return {field.name: field.value.read(str(stored[field.key])) for field in _KEPT}


def _write_kept(policy: Policy) -> Plain:
    return make_plain_fields(_KEPT, {field.name: getattr(policy, field.name) for field in _KEPT})


def _write_when(policy: Policy) -> Plain:
    names = ("schedule", "every_minutes", "at_time", "weekday", "cron")
    return make_plain_when({name: getattr(policy, name) for name in names}, "")


def _plain(name: str, label: str) -> Value:
    field = _BY_NAME[name]
    return Value(
        name,
        label,
        lambda stored: {name: field.value.read(str(stored))},
        lambda policy: field.value.write(getattr(policy, name)),
        lambda policy: str(field.value.write(getattr(policy, name))),
    )


VALUES: Final = {
    value.name: value
    for value in (
        _plain(TARGET, "Target (RPO)"),
        Value(WHEN, "When", _read_when, _write_when, lambda policy: Schedule.of(policy).sentence()),
        Value(KEPT, "What stays", _read_kept, _write_kept, lambda policy: say_rules(Rules.of(policy))),
        _plain("rto", "Restore within (RTO)"),
        _plain("impact", "Load"),
        _plain("upload_mb_s", "Send at most"),
        _plain("priority", "Turn"),
    )
}


def say_rules(rules: Rules) -> str:
    """Given rules, return them in one line, like "the last 4, 24 hourly, 14 daily; nothing younger than 2 d
    goes"."""
    named = (
        (rules.hourly, "hourly"),
        (rules.daily, "daily"),
        (rules.weekly, "weekly"),
        (rules.monthly, "monthly"),
        (rules.yearly, "yearly"),
    )
    counts = [f"the last {rules.last}"] if rules.last else []
    counts += [f"{count} {word}" for count, word in named if count]
    youngest, oldest = (_DURATIONS[name].write for name in ("keep_min", "keep_max"))
    said = f"{', '.join(counts) or 'no numbers'}; nothing younger than {youngest(rules.youngest)} goes"
    return f"{said}, nothing older than {oldest(rules.oldest)} stays" if rules.oldest is not None else said


_DURATIONS = {field.name: field.value for field in KEEP}


def apply(policy: Policy, own: Own) -> Policy:
    """Given a policy and the overrides of one device, return it as it holds there: a copy that is never to be
    saved, with what was prefetched; the policy itself without overrides."""
    if not own:
        return policy
    made = copy.copy(policy)
    for name, stored in own.items():
        for field, value in VALUES[name].read(stored).items():
            setattr(made, field, value)
    return made


def effective(policy: Policy, overrides: Iterable[Override]) -> tuple[Effective, ...]:
    """Given a policy and the overrides of one device, return every value with its origin."""
    by_name = {each.field: each for each in overrides}
    made = apply(policy, {each.field: each.value for each in by_name.values()})
    return tuple(
        Effective(value, value.say(made), value.say(policy), by_name.get(value.name))
        for value in VALUES.values()
    )


def read_own(overrides: QuerySet[Override]) -> dict[int, Own]:
    """Given overrides, return those of each PolicyDevice by its id. Runs one query."""
    own: dict[int, dict[str, Any]] = defaultdict(dict)
    for row, field, value in overrides.order_by().values_list("assignment_id", "field", "value"):
        own[row][field] = value
    return dict(own)


def read_target(stored: object) -> timedelta:
    """Given a target as it is stored in an override, return it."""
    target: timedelta = _BY_NAME[TARGET].value.read(str(stored))
    return target


def on_device(policy: Policy | None, device: Device | int) -> Policy | None:
    """Given a policy and a device, return the policy as it holds there. Runs one query."""
    if policy is None:
        return None
    rows = Override.objects.filter(assignment__policy=policy, assignment__device=device)
    return apply(policy, dict(rows.order_by().values_list("field", "value")))
