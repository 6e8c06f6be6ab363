"""When a policy of a file runs: its schedule, its cold window, its blocked hours. Pure."""

from __future__ import annotations

from datetime import time
from typing import Any

from backupsite.policies.blocked_form import MOST_ROWS
from backupsite.policies.document import COLD_NAMES, WHEN, Hours
from backupsite.policies.document_parts import (
    REFUSED,
    Report,
    quote,
    take_keys,
    take_texts,
    take_value,
)
from backupsite.policies.document_values import (
    ALL_DAYS,
    EVERY_DAY,
    INTERVAL,
    SWITCH,
    TARGET,
    Value,
    read_clock,
    read_day_and_time,
    read_weekday,
)
from backupsite.policies.schedule import CRON, DAILY, EVERY, MANUAL, WEEKLY, Schedule
from backupsite.web.yaml_tree import Items, Node, Text

Taken = dict[str, tuple[Text, Node]]
LONGEST_CRON = 120
KINDS = {"every": EVERY, "daily": DAILY, "weekly": WEEKLY, "cron": CRON, "by hand": MANUAL}


def _read_cron(text: str) -> str:
    if len(text) > LONGEST_CRON:
        raise ValueError(f"At most {LONGEST_CRON} characters.")
    return text


WHEN_VALUES = {
    "every": INTERVAL,
    "daily": Value(read_clock, str),
    "weekly": Value(read_day_and_time, str),
    "cron": Value(_read_cron, str),
    "by hand": SWITCH,
}
_CLOCK = Value(read_clock, str)


def read_when(taken: Taken, line: int, zone: str, report: Report) -> dict[str, Any]:
    """Given the keys of a policy or of a window, return the fields of its schedule without a prefix; nothing
    when none is there, or not a right one, which is noted."""
    given = [key for key in WHEN if key in taken]
    if not given:
        return {}
    if len(given) > 1:
        second = taken[given[1]][0]
        report.add(second.line, f"One schedule only: “{given[0]}” or “{given[1]}”.")
        return {}
    key = given[0]
    value = take_value(*taken[key], WHEN_VALUES[key], report)
    if value is REFUSED:
        return {}
    if key == "by hand" and not value:
        report.add(taken[key][1].line, "“by hand” is true, or another schedule stands here.")
        return {}
    fields = fields_of(KINDS[key], value)
    try:
        Schedule(
            fields["schedule"], **{n: fields[n] for n in fields if n != "schedule"}, time_zone=zone
        ).check()
    except ValueError as error:
        report.add(taken[key][1].line, f"{quote(key)}: {error}")
        return {}
    return fields


def fields_of(kind: str, value: Any) -> dict[str, Any]:
    """Given a kind of schedule and its value as it was read, return the fields of the model."""
    day, at = value if kind == WEEKLY else (None, value if kind == DAILY else None)
    return {
        "schedule": kind,
        "every_minutes": value if kind == EVERY else 60,
        "at_time": at,
        "weekday": day,
        "cron": value if kind == CRON else "",
    }


def read_window(key: Text, node: Node, zone: str, report: Report) -> dict[str, Any]:
    """Given the cold window, return its fields of the model; "none" switches it off."""
    if isinstance(node, Text):
        if node.is_nothing or node.value.strip().lower() == "none":
            return {"cold_is_enabled": False}
        report.add(node.line, f"{quote(key.value)}: write none, or a schedule and a target below it.")
        return {}
    taken = take_keys(node, ("daily", "weekly", "cron", "target"), report)
    if taken is None:
        return {}
    when = read_when(taken, node.line, zone, report)
    if not {"daily", "weekly", "cron"} & taken.keys():
        report.add(node.line, f"{quote(key.value)}: say when, like weekly: Sunday 03:00.")
    if not when:
        return {}
    fields = {"cold_is_enabled": True}
    fields |= {f"cold_{name}": value for name, value in when.items() if f"cold_{name}" in COLD_NAMES}
    if "target" in taken and (target := take_value(*taken["target"], TARGET, report)) is not REFUSED:
        fields["cold_rpo"] = target
    return fields


def read_hours(key: Text, node: Node, report: Report) -> tuple[Hours, ...]:
    """Given the list of blocked hours, return them."""
    if isinstance(node, Text) and (node.is_nothing or node.value.strip().lower() == "none"):
        return ()
    if not isinstance(node, Items):
        report.add(
            node.line, f"{quote(key.value)} is a list: begin each with a dash, like - days: every day."
        )
        return ()
    if len(node.items) > MOST_ROWS:
        report.add(node.line, f"{quote(key.value)} takes {MOST_ROWS} at most; these are {len(node.items)}.")
        return ()
    read = [_read_hours(each, report) for each in node.items]
    return tuple(dict.fromkeys(each for each in read if each is not None))


def _read_hours(node: Node, report: Report) -> Hours | None:
    taken = take_keys(node, ("days", "from", "to"), report)
    if taken is None:
        return None
    for key in ("from", "to"):
        if key not in taken:
            report.add(node.line, f"Blocked hours need a “{key}”, like {key}: 08:00.")
            return None
    days = _read_days(*taken["days"], report) if "days" in taken else ALL_DAYS
    begins, ends = (take_value(*taken[key], _CLOCK, report) for key in ("from", "to"))
    if not days or not isinstance(begins, time) or not isinstance(ends, time):
        return None
    return Hours(days, begins, ends)


def _read_days(key: Text, node: Node, report: Report) -> str:
    if isinstance(node, Text) and " ".join(node.value.lower().split()) == EVERY_DAY:
        return ALL_DAYS
    days = set()
    for each in take_texts(key, node, 7, report) or []:
        try:
            days.add(read_weekday(each.value.strip()))
        except ValueError as error:
            report.add(each.line, f"{quote(key.value)}: {error}")
            return ""
    if not days:
        report.add(node.line, f"{quote(key.value)}: name a day, or write every day.")
    return "".join(str(day) for day in sorted(days))
