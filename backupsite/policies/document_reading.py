"""A policy file, read and checked as a whole: what it says, or what is wrong with it and in which line.

No database: what is there already is given. What a file does not say of a policy that exists stays as it is;
of a new one it is as in an empty form.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from backupsite.fleet.names import clean_name
from backupsite.policies.blocked import Blocked
from backupsite.policies.document import (
    COPY_KEPT,
    FIELD_NAMES,
    FIELDS,
    KEEP,
    TAG_RULES,
    WHEN,
    PolicyState,
    make_default,
    make_policy,
)
from backupsite.policies.document_own import Devices, read_own
from backupsite.policies.document_parts import (
    MOST_SHOWN,
    REFUSED,
    Report,
    note_twins,
    quote,
    take_keys,
    take_text,
    take_texts,
    take_value,
)
from backupsite.policies.document_sources import read_sources
from backupsite.policies.document_values import NONE, Value
from backupsite.policies.document_when import read_hours, read_when, read_window
from backupsite.policies.models import Policy, Source
from backupsite.policies.naming import name_source
from backupsite.policies.planning import Planner
from backupsite.policies.retention import Rules
from backupsite.policies.schedule import Schedule
from backupsite.policies.windows import COLD, lacks_window, needs_window, own_window
from backupsite.policies.writing import key_of
from backupsite.web.yaml_tree import Items, Node, Problem, Text, Unreadable, read_text, read_tree

Taken = dict[str, tuple[Text, Node]]
# While they are stored nobody else writes to the database.
MOST_POLICIES = 250
MOST_DEVICES = 100_000
MOST_TAGS = 50
KEYS = (
    "name",
    "devices",
    "tags",
    "select by tags",
    *WHEN,
    *(field.key for field in FIELDS),
    "blocked hours",
    "cold window",
    "keep",
    "second copy",
    "own values",
    "sources",
)
_NAME = Value(clean_name, str)


@dataclass(frozen=True)
class Known:
    """What is there already: `policy_of` gives a policy by its name in small letters, `devices` are names,
    `check_tag` raises ValueError for a word that is none, `now` is when the schedules begin,
    `storages` are the names of places for second copies. `refuse` says why the sources of a policy cannot be
    taken on its devices; `find_others` which of some devices are none of its."""

    policy_of: Callable[[str], PolicyState | None]
    devices: Collection[str]
    check_tag: Callable[[str], str]
    now: datetime
    storages: Collection[str] = ()
    refuse: Callable[[PolicyState], Collection[str]] = lambda state: ()
    find_others: Callable[[PolicyState, Collection[str]], Collection[str]] = lambda state, names: [
        name for name in names if name not in state.devices
    ]


@dataclass(frozen=True)
class Reading:
    """What a file says. `states` counts only when `problems` is empty; `problem_count` counts those that are
    not listed too."""

    states: tuple[PolicyState, ...]
    problems: tuple[Problem, ...]
    problem_count: int

    @property
    def hidden_count(self) -> int:
        return self.problem_count - len(self.problems)


def read_policies(data: bytes, known: Known) -> Reading:
    """Given a file, return what it says of each policy, and everything that is wrong with it."""
    try:
        root = read_tree(read_text(data))
    except Unreadable as error:
        return Reading((), (error.problem,), 1)
    report = Report()
    states = _read_root(root, known, report)
    problems = sorted(report.problems)[:MOST_SHOWN]
    return Reading(tuple(states), tuple(problems), report.count)


def _read_root(root: Node | None, known: Known, report: Report) -> list[PolicyState]:
    if root is None:
        report.add(1, "There is nothing in this file.")
        return []
    taken = take_keys(root, ("policies",), report)
    if taken is None:
        return []
    if "policies" not in taken:
        report.add(1, "The file begins with “policies:”, and below it a list.")
        return []
    listed = taken["policies"][1]
    if not isinstance(listed, Items) or not 1 <= len(listed.items) <= MOST_POLICIES:
        report.add(listed.line, f"“policies” is a list of 1 to {MOST_POLICIES} policies.")
        return []
    seen: dict[str, int] = {}
    states = []
    for node in listed.items:
        state = _read_policy(node, known, seen, report)
        if state is not None:
            states.append(state)
    return states


def _read_policy(node: Node, known: Known, seen: dict[str, int], report: Report) -> PolicyState | None:
    taken = take_keys(node, KEYS, report)
    if taken is None:
        return None
    name = _read_name(node, taken, seen, report)
    base = known.policy_of(name.lower()) if name is not None else None
    is_new = base is None
    if base is None:
        base = make_default(name or "?")
        if "sources" not in taken:
            report.add(node.line, "A new policy needs its “sources”.")
    state = PolicyState(
        name or "?",
        _read_fields(node, taken, base, report),
        _read_devices(taken, known.devices, base, report),
        _read_tags(taken, known, base, report),
        read_hours(*taken["blocked hours"], report) if "blocked hours" in taken else base.blocked,
        tuple(read_sources(*taken["sources"], report)) if "sources" in taken else base.sources,
    )
    state = _read_copy(taken, known.storages, state, base, report)
    state = replace(
        state, own=read_own(taken, state, base, Devices(known.devices, known.find_others), report)
    )
    if is_new and not set(WHEN) & taken.keys():
        report.add(node.line, "A new policy needs to say when, like every: 1 h, or by hand: true.")
    _check_window(node, taken, state, report)
    _check_starts(node, taken, state, known.now, report)
    line = taken["sources"][0].line if "sources" in taken else node.line
    for sentence in known.refuse(state):
        report.add(line, sentence)
    return state


def _read_name(node: Node, taken: Taken, seen: dict[str, int], report: Report) -> str | None:
    if "name" not in taken:
        report.add(node.line, "A policy needs its “name”.")
        return None
    key, value = taken["name"]
    name = take_value(key, value, _NAME, report)
    if not isinstance(name, str):
        return None
    first = seen.setdefault(name.lower(), value.line)
    if first != value.line:
        report.add(value.line, f"The policy {quote(name)} stands in line {first} already.")
    return name


def _read_fields(node: Node, taken: Taken, base: PolicyState, report: Report) -> Mapping[str, Any]:
    fields = dict(base.fields)
    for field in FIELDS:
        _take_into(fields, field.name, taken, field.key, field.value, report)
    _take_into(fields, "needs_all_tags", taken, "select by tags", TAG_RULES, report)
    zone = str(fields["time_zone"])
    fields |= read_when(taken, node.line, zone, report)
    if "cold window" in taken:
        fields |= read_window(*taken["cold window"], zone, report)
    kept = take_keys(taken["keep"][1], tuple(field.key for field in KEEP), report) if "keep" in taken else {}
    for field in KEEP:
        _take_into(fields, field.name, kept or {}, field.key, field.value, report)
    _check_kept(node, taken, fields, report)
    return {name: fields[name] for name in FIELD_NAMES}


def _check_kept(node: Node, taken: Taken, fields: Mapping[str, Any], report: Report) -> None:
    """The rules of the form: retention keeps something."""
    try:
        Rules.of(Policy(**{field.name: fields[field.name] for field in KEEP})).check()
    except ValueError as error:
        report.add(taken["keep"][0].line if "keep" in taken else node.line, f"“keep”: {error}")


def _read_copy(
    taken: Taken, storages: Collection[str], state: PolicyState, base: PolicyState, report: Report
) -> PolicyState:
    """Return the state with its second copy."""
    if "second copy" not in taken:
        return replace(state, copy_storage=base.copy_storage)
    node = taken["second copy"][1]
    if isinstance(node, Text) and (node.is_nothing or node.value.strip().lower() == NONE):
        return replace(state, fields={**state.fields, "copy_keep": None})
    parts = take_keys(node, ("storage", "keep"), report)
    if parts is None:
        return state
    if "storage" not in parts:
        report.add(node.line, "A second copy needs its “storage”.")
        return state
    name = take_text(*parts["storage"], report) or ""
    if name not in storages:
        report.add(parts["storage"][1].line, f"There is no storage {quote(name)}.")
    fields = dict(state.fields)
    _take_into(fields, "copy_keep", parts, "keep", COPY_KEPT, report)
    return replace(state, fields=fields, copy_storage=name)


def _take_into(fields: dict[str, Any], name: str, taken: Taken, key: str, value: Any, report: Report) -> None:
    if key in taken and (said := take_value(*taken[key], value, report)) is not REFUSED:
        fields[name] = said


def _read_devices(taken: Taken, known: Collection[str], base: PolicyState, report: Report) -> tuple[str, ...]:
    if "devices" not in taken:
        return base.devices
    key, node = taken["devices"]
    texts = take_texts(key, node, MOST_DEVICES, report) or []
    note_twins(key, texts, report)
    for each in texts:
        if each.value not in known:
            report.add(each.line, f"There is no device {quote(each.value)}.")
    return tuple(each.value for each in texts)


def _read_tags(taken: Taken, known: Known, base: PolicyState, report: Report) -> tuple[str, ...]:
    if "tags" not in taken:
        return base.tags
    key, node = taken["tags"]
    tags = []
    for each in take_texts(key, node, MOST_TAGS, report) or []:
        try:
            tags.append(known.check_tag(each.value))
        except ValueError as error:
            report.add(each.line, f"{quote(each.value)}: {error}")
    return tuple({tag.lower(): tag for tag in reversed(tags)}.values())


def _check_window(node: Node, taken: Taken, state: PolicyState, report: Report) -> None:
    """The rule of the form: what waits for a cold window needs one."""
    drafts = [{**each} for each in state.sources]
    listed = [Source(**each) for each in drafts]
    if state.fields["cold_is_enabled"] or not lacks_window(listed):
        return
    names = ", ".join(name_source(key_of(each)) for each in drafts if needs_window(Source(**each)))
    key = "cold window" if "cold window" in taken else "sources"
    line = taken[key][0].line if key in taken else node.line
    report.add(line, f"A “cold window” is needed for {names}.")


def _check_starts(node: Node, taken: Taken, state: PolicyState, now: datetime, report: Report) -> None:
    """The rules of the form: blocked hours leave some time free, and the time of cold copies too."""
    policy = make_policy(state)
    blocked = Blocked.make(state.blocked, policy.time_zone)
    own = own_window([Source(**each) for each in state.sources], has_window=policy.cold_is_enabled)
    schedule = Schedule.of_window(policy) or (Schedule.of(policy) if own == COLD else None)
    try:
        blocked.check()
        if schedule is not None:
            Planner(schedule, blocked, is_cold=True).check(now)
    except ValueError as error:
        keys = [key for key in ("blocked hours", "cold window") if key in taken]
        report.add(taken[keys[0]][0].line if keys else node.line, str(error))
