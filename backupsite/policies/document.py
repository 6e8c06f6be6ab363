"""A policy as a document: what stands in its file, key by key. Pure.

A `PolicyState` is everything that a person decided about a policy, without the rows that keep it. It is read
from rows (document_rows) or from a file (document_reading) and written as plain lists and mappings
(`make_plain`): two states are the same when these are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import time
from typing import Any

from backupsite.policies.document_values import (
    ALL_DAYS,
    AUTOMATIC,
    COPY_KEEP,
    DURATION,
    EVERY_DAY,
    INTERVAL,
    KEPT,
    NONE,
    RATE,
    REST,
    SPREAD,
    SWITCH,
    TARGET,
    ZONE,
    Plain,
    Value,
    maybe,
    one_of,
)
from backupsite.policies.durations import show_duration
from backupsite.policies.models import Policy, Source
from backupsite.policies.schedule import CRON, DAILY, EVERY, WEEKDAYS, WEEKLY
from backupsite.policies.source_form import COMMAND, DEFAULTS, row_of


@dataclass(frozen=True)
class Field:
    """A key of the file, the field of the model that it is, and how its value is written."""

    key: str
    name: str
    value: Value


FIELDS = (
    Field("enabled", "is_enabled", SWITCH),
    Field(
        "priority",
        "priority",
        one_of({Policy.FIRST: "before others", Policy.USUAL: "as others", Policy.LAST: "after others"}),
    ),
    Field("time zone", "time_zone", ZONE),
    Field("spread", "spread_minutes", maybe(SPREAD, AUTOMATIC)),
    Field(
        "when blocked",
        "when_blocked",
        one_of({Policy.FINISH: "finish", Policy.PAUSE: "pause", Policy.STOP: "stop"}),
    ),
    Field("target", "rpo", TARGET),
    Field("restore within", "rto", maybe(TARGET)),
    Field("impact", "impact", one_of({each: each for each, _ in Policy.IMPACTS})),
    Field("send at most", "upload_mb_s", maybe(RATE)),
)
KEEP = (
    Field("last", "keep_last", KEPT),
    Field("hourly", "keep_hourly", KEPT),
    Field("daily", "keep_daily", KEPT),
    Field("weekly", "keep_weekly", KEPT),
    Field("monthly", "keep_monthly", KEPT),
    Field("yearly", "keep_yearly", KEPT),
    Field("nothing younger than", "keep_min", DURATION),
    Field("nothing older than", "keep_max", maybe(DURATION)),
    Field("rest", "rest", REST),
)
TAG_RULES = one_of({False: "any", True: "all"})
MODES = one_of({Source.HOT: "hot", Source.COLD: "cold", Source.BOTH: "hot and cold", Source.OUT: "leave out"})
FALLBACKS = one_of(
    {Source.FAIL: "fail", Source.LIVE: "accept a live copy", Source.WAIT: "wait for the cold window"}
)
# Key of the file -> field of a source's form, for values that are written as they are typed.
SOURCE_TEXTS = {
    "longest freeze": "longest_freeze",
    "longest downtime": "longest_downtime",
    "together with": "group",
}
SOURCE_LISTS = {"services": "services", "leave out": "excludes"}
WHEN = ("every", "daily", "weekly", "cron", "by hand")
# The fields that belong to a schedule, own or cold.
WHEN_NAMES = ("schedule", "every_minutes", "at_time", "weekday", "cron")
COLD_NAMES = (
    "cold_is_enabled",
    "cold_schedule",
    "cold_at_time",
    "cold_weekday",
    "cold_cron",
    "cold_rpo",
)
FIELD_NAMES = (
    *(field.name for field in (*FIELDS, *KEEP)),
    "needs_all_tags",
    *WHEN_NAMES,
    *COLD_NAMES,
    "copy_keep",
)
_OWN_KEYS = {"keep": "keep", **{field.name: field.key for field in FIELDS}}
COPY_KEPT = maybe(COPY_KEEP, "as long as the first")


@dataclass(frozen=True, order=True)
class Hours:
    """Blocked hours: the days ("0" is Monday), from when to when."""

    weekdays: str
    begins: time
    ends: time


@dataclass(frozen=True)
class OwnValues:
    """Values of a policy that are others on one device: by the name of the override, as it is stored."""

    device: str
    values: Mapping[str, Plain]


@dataclass(frozen=True)
class PolicyState:
    """What was decided about a policy. `fields` are those of the model; devices and tags by name; a source is
    a mapping of the model's fields. `copy_storage` is the name of the place of second copies, "" for none."""

    name: str
    fields: Mapping[str, Any]
    devices: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    blocked: tuple[Hours, ...] = ()
    sources: tuple[Mapping[str, Any], ...] = ()
    copy_storage: str = ""
    own: tuple[OwnValues, ...] = ()


def make_default(name: str) -> PolicyState:
    """Given a name, return what a new policy is before anything is said about it."""
    blank = Policy()
    return PolicyState(name, {field: getattr(blank, field) for field in FIELD_NAMES})


def make_policy(state: PolicyState) -> Policy:
    """Given a policy's state, return a row that is not stored, with its fields."""
    return Policy(name=state.name, **state.fields)


def make_plain(state: PolicyState) -> dict[str, Plain]:
    """Given a policy, return what stands in the file."""
    plain: dict[str, Plain] = {"name": state.name, "devices": sorted(state.devices)}
    plain["tags"] = sorted(state.tags)
    plain["select by tags"] = TAG_RULES.write(state.fields["needs_all_tags"])
    plain |= make_plain_when(state.fields, "")
    plain |= make_plain_fields(FIELDS, state.fields)
    plain["blocked hours"] = [_plain_hours(each) for each in sorted(state.blocked)]
    plain["cold window"] = _plain_window(state.fields)
    plain["keep"] = make_plain_fields(KEEP, state.fields)
    plain["second copy"] = _plain_copy(state)
    plain["own values"] = [_plain_own(each) for each in sorted(state.own, key=lambda each: each.device)]
    plain["sources"] = [make_plain_source(each) for each in sorted_sources(state)]
    return plain


def _plain_own(own: OwnValues) -> dict[str, Plain]:
    """A schedule is a key of its own, as in the policy; what stays is called keep there and here."""
    plain: dict[str, Plain] = {"device": own.device}
    for name, stored in sorted(own.values.items()):
        plain |= stored if name == "schedule" and isinstance(stored, dict) else {_OWN_KEYS[name]: stored}
    return plain


def make_plain_fields(fields: Iterable[Field], values: Mapping[str, Any]) -> dict[str, Plain]:
    """Given keys of the file and fields of the model, return what stands there."""
    return {field.key: field.value.write(values[field.name]) for field in fields}


def make_plain_when(values: Mapping[str, Any], prefix: str) -> dict[str, Plain]:
    """Given fields of the model, return the schedule as it stands in the file."""
    kind, at = values[f"{prefix}schedule"], values[f"{prefix}at_time"]
    if kind == EVERY:
        return {"every": INTERVAL.write(values["every_minutes"])}
    if kind == DAILY:
        return {"daily": f"{at:%H:%M}"}
    if kind == WEEKLY:
        return {"weekly": f"{WEEKDAYS[values[f'{prefix}weekday']]} {at:%H:%M}"}
    return {"cron": " ".join(values[f"{prefix}cron"].split())} if kind == CRON else {"by hand": True}


def _plain_hours(hours: Hours) -> dict[str, Plain]:
    days = [WEEKDAYS[int(day)] for day in sorted(hours.weekdays)]
    said: Plain = EVERY_DAY if hours.weekdays == ALL_DAYS else days
    return {"days": said, "from": f"{hours.begins:%H:%M}", "to": f"{hours.ends:%H:%M}"}


def _plain_copy(state: PolicyState) -> Plain:
    if not state.copy_storage:
        return NONE
    return {"storage": state.copy_storage, "keep": COPY_KEPT.write(state.fields["copy_keep"])}


def _plain_window(values: Mapping[str, Any]) -> Plain:
    if not values["cold_is_enabled"]:
        return NONE
    return {**make_plain_when(values, "cold_"), "target": show_duration(values["cold_rpo"])}


def sorted_sources(state: PolicyState) -> list[Mapping[str, Any]]:
    """Return the sources in the order of the file: paths first."""
    return sorted(
        state.sources,
        key=lambda each: (each.get("application", ""), each.get("path", ""), each.get("instance", "")),
    )


def make_plain_source(source: Mapping[str, Any]) -> dict[str, Plain]:
    """Given a source, return its entry: what it is, and what differs from a new one."""
    row = row_of(Source(**source))
    application = source.get("application", "")
    plain: dict[str, Plain]
    if not application:
        plain = {"path": row["path"]}
    else:
        plain = {"application": application, "instance": row["instance"]}
    if application == COMMAND:
        plain["command"] = row["command"]
    plain["mode"] = MODES.write(row["mode"])
    if row["if_hot_impossible"] != DEFAULTS["if_hot_impossible"]:
        plain["if hot is impossible"] = FALLBACKS.write(row["if_hot_impossible"])
    if row["keeps_log"]:
        plain["keep its log"] = True
    if source.get("is_optional"):
        plain["optional"] = True
    if source.get("is_shared"):
        plain["shared"] = True
    if source.get("accepted_problems"):
        plain["accepted problems"] = source["accepted_problems"]
    for key, name in {"method": "method", **SOURCE_TEXTS}.items():
        if row[name] != DEFAULTS[name]:
            plain[key] = row[name]
    for key, name in SOURCE_LISTS.items():
        if row[name]:
            plain[key] = row[name].split("\n")
    return plain
