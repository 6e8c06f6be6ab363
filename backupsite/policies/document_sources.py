"""The sources of a policy in a file, checked by the same form as those that are typed. No database."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from agents.applications import applications
from backupsite.policies.document import FALLBACKS, MODES, SOURCE_LISTS, SOURCE_TEXTS
from backupsite.policies.document_parts import (
    Report,
    quote,
    take_keys,
    take_text,
    take_texts,
    take_value,
)
from backupsite.policies.document_values import PROBLEMS, SWITCH, Value, one_of
from backupsite.policies.paths import MOST_EXCLUDES
from backupsite.policies.source_form import (
    COMMAND,
    DEFAULTS,
    FILES,
    METHODS,
    POSTGRESQL,
    SHARED_LOG,
    SourceForm,
)
from backupsite.policies.source_forms import MOST_SOURCES, TWICE
from backupsite.policies.writing import key_of
from backupsite.web.yaml_tree import Items, Node, Text

Taken = dict[str, tuple[Text, Node]]

KEYS = (
    "path",
    "application",
    "instance",
    "command",
    "mode",
    "if hot is impossible",
    "keep its log",
    "optional",
    "shared",
    "accepted problems",
    "method",
    *SOURCE_TEXTS,
    *SOURCE_LISTS,
)
# What belongs to some kinds of sources only.
_OF_FILES = {"path", "services", "leave out"}
_OF_APPLICATIONS = {"instance", "method", "keep its log", "command"}
# Key of the file -> field of the form, for errors of the form.
_KEYS_OF_FORM = {name: key for key, name in (SOURCE_TEXTS | SOURCE_LISTS).items()} | {
    "kind": "application",
    "if_hot_impossible": "if hot is impossible",
    "keeps_log": "keep its log",
}
_WORDS: dict[str, tuple[str, Value]] = {
    "mode": ("mode", MODES),
    "if hot is impossible": ("if_hot_impossible", FALLBACKS),
    "keep its log": ("keeps_log", SWITCH),
    "method": ("method", one_of({each: each or "best" for each, _ in METHODS})),
}


def read_sources(key: Text, node: Node, report: Report) -> list[dict[str, Any]]:
    """Given the list of sources, return those that are right as fields of the model; note the others."""
    if not isinstance(node, Items):
        report.add(node.line, "“sources” is a list: begin each with a dash, like - path: /etc.")
        return []
    if not 1 <= len(node.items) <= MOST_SOURCES:
        report.add(node.line, f"A policy has 1 to {MOST_SOURCES} sources; these are {len(node.items)}.")
        return []
    seen: dict[str, int] = {}
    drafts = []
    for each in node.items:
        draft = _read_source(each, report)
        if draft is not None and (first := seen.setdefault(key_of(draft), each.line)) != each.line:
            report.add(each.line, f"{TWICE} Look at line {first}.")
        elif draft is not None:
            drafts.append(draft)
    return drafts


def _read_source(node: Node, report: Report) -> dict[str, Any] | None:
    taken = take_keys(node, KEYS, report)
    if taken is None or not _is_of_one_kind(node, taken, report):
        return None
    count = report.count
    row = _read_row(taken, report)
    more = {
        "is_optional": take_value(*taken["optional"], SWITCH, report) if "optional" in taken else False,
        "is_shared": take_value(*taken["shared"], SWITCH, report) if "shared" in taken else False,
        "accepted_problems": (
            take_value(*taken["accepted problems"], PROBLEMS, report) if "accepted problems" in taken else 0
        ),
    }
    if report.count > count:
        return None
    draft, errors = _check(tuple(sorted(row.items())))
    for name, sentence in errors:
        key = _KEYS_OF_FORM.get(name, name)
        line = taken[key][1].line if key in taken else node.line
        report.add(line, f"{quote(key)}: {sentence}")
    if draft is None:
        return None
    if row["keeps_log"] and not draft["keeps_log"]:
        report.add(
            taken["keep its log"][1].line, "“keep its log”: only a source that is taken hot has a log."
        )
    if draft["keeps_log"] and more["is_shared"]:
        report.add(taken["shared"][1].line, f"“shared”: {SHARED_LOG}")
    return {**draft, **more}


def _is_of_one_kind(node: Node, taken: Taken, report: Report) -> bool:
    """Note what cannot stand together: the form would not look at it, and a file must not hold it in vain."""
    is_files = "application" not in taken
    if is_files and "path" not in taken:
        report.add(node.line, "Say what it is: a path, or an application and its instance.")
        return False
    kind = FILES if is_files else take_text(*taken["application"], report)
    if kind is None:
        return False
    if not is_files and kind not in applications():
        names = ", ".join(sorted(applications()))
        report.add(
            taken["application"][1].line, f"There is no application {quote(kind)}; there are: {names}."
        )
        return False
    strange = _OF_APPLICATIONS if is_files else _OF_FILES
    strange = strange | ({"command"} if kind != COMMAND else set())
    strange = strange | ({"keep its log"} if kind != POSTGRESQL else set())
    for key in sorted(strange & taken.keys()):
        report.add(taken[key][0].line, f"{quote(key)} does not belong to a source of this kind.")
    return not strange & taken.keys()


def _read_row(taken: Taken, report: Report) -> dict[str, str]:
    """Return what a person would have typed into the form."""
    row = dict(DEFAULTS)
    if "application" in taken:
        row["kind"] = take_text(*taken["application"], report) or ""
    for key in ("path", "instance", "command"):
        if key in taken:
            row[key] = take_text(*taken[key], report) or ""
    for key, (name, value) in _WORDS.items():
        if key in taken:
            said = take_value(*taken[key], value, report)
            row[name] = ("on" if said else "") if name == "keeps_log" else str(said)
    for key, name in SOURCE_TEXTS.items():
        if key in taken:
            row[name] = take_text(*taken[key], report) or ""
    for key, name in SOURCE_LISTS.items():
        if key in taken:
            row[name] = _join(*taken[key], report)
    return row


def _join(key: Text, node: Node, report: Report) -> str:
    texts = take_texts(key, node, MOST_EXCLUDES, report) or []
    for each in texts:
        if "\n" in each.value or "\r" in each.value:
            report.add(each.line, f"{quote(key.value)}: one a line, without line breaks.")
    return "\n".join(each.value for each in texts)


@lru_cache(maxsize=4096)
def _check(row: tuple[tuple[str, str], ...]) -> tuple[dict[str, Any] | None, tuple[tuple[str, str], ...]]:
    """Given a row as it would be posted, return its draft, or the errors of its fields. Large fleets repeat
    their sources, and a form takes a millisecond."""
    form = SourceForm({name: value for name, value in row if name != "keeps_log" or value})
    if form.is_valid():
        return form.draft, ()
    return None, tuple((name, str(error)) for name, errors in form.errors.items() for error in errors)
