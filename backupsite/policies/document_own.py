"""Values of single devices in a policy file: what stands there, and what is wrong with it. Pure.

An entry names a device of the policy and the values that are its own, in the words of the policy. They are
kept as overrides, which are stored in these words too (`effective`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from backupsite.policies.document import (
    FIELDS,
    KEEP,
    WHEN,
    OwnValues,
    PolicyState,
    make_plain_fields,
    make_plain_when,
)
from backupsite.policies.document_parts import REFUSED, Report, quote, take_keys, take_text, take_value
from backupsite.policies.document_values import Plain
from backupsite.policies.document_when import read_when
from backupsite.policies.effective import KEPT, VALUES
from backupsite.policies.effective import WHEN as SCHEDULE
from backupsite.policies.models import Policy
from backupsite.policies.retention import Rules
from backupsite.web import yaml_tree
from backupsite.web.yaml_tree import Items, Node, Text

Taken = dict[str, tuple[Text, Node]]
# Each is a row that is written while nobody else writes.
MOST_OWN = 1000
_FIELDS = tuple(field for field in FIELDS if field.name in VALUES)
_KEEP = tuple(field for field in KEEP if field.name != "rest")
KEYS = ("device", *WHEN, *(field.key for field in _FIELDS), "keep")


@dataclass(frozen=True)
class Devices:
    """`known` are the names of all devices, `find_others` gives those of some names that a policy has not."""

    known: Collection[str]
    find_others: Callable[[PolicyState, Collection[str]], Collection[str]]


def read_own(
    taken: Taken, state: PolicyState, base: PolicyState, devices: Devices, report: Report
) -> tuple[OwnValues, ...]:
    """Given the keys of a policy and what else the file says of it, return the values of its devices: those
    that are there, where the file does not say any."""
    if "own values" not in taken:
        gone = devices.find_others(state, [each.device for each in base.own]) if base.own else ()
        return tuple(each for each in base.own if each.device not in gone)
    key, node = taken["own values"]
    if isinstance(node, Text) and node.is_nothing:
        return ()
    if not isinstance(node, Items) or len(node.items) > MOST_OWN:
        report.add(node.line, f"{quote(key.value)} is a list of {MOST_OWN:,} at most, each with its device.")
        return ()
    lines: dict[str, int] = {}
    read = [_read_entry(each, state.fields, devices.known, lines, report) for each in node.items]
    for name in devices.find_others(state, list(lines)):
        report.add(lines[name], f"{quote(name)} is none of the devices of this policy.")
    return tuple(each for each in read if each is not None)


def _read_entry(
    node: Node, fields: Mapping[str, Any], known: Collection[str], lines: dict[str, int], report: Report
) -> OwnValues | None:
    taken = take_keys(node, KEYS, report)
    if taken is None:
        return None
    if "device" not in taken:
        report.add(node.line, "Own values need their “device”.")
        return None
    line = taken["device"][1].line
    name = take_text(*taken["device"], report)
    values = _read_values(node, taken, fields, report)
    if name is None:
        return None
    if name not in known:
        report.add(line, f"There is no device {quote(name)}.")
        return None
    if name in lines:
        report.add(line, f"{quote(name)} has own values in line {lines[name]} already.")
        return None
    lines[name] = line
    return OwnValues(name, values)


def _read_values(node: Node, taken: Taken, fields: Mapping[str, Any], report: Report) -> Mapping[str, Plain]:
    """Return overrides as they are stored. What a device's own rules do not say is as the policy has it."""
    values: dict[str, Plain] = {}
    if when := read_when(taken, node.line, str(fields["time_zone"]), report):
        values[SCHEDULE] = make_plain_when(when, "")
    for field in _FIELDS:
        if field.key in taken:
            said = take_value(*taken[field.key], field.value, report)
            if said is not REFUSED:
                values[field.name] = field.value.write(said)
    if "keep" in taken:
        values[KEPT] = _read_kept(taken["keep"], fields, report)
    if isinstance(node, yaml_tree.Mapping) and len(node.pairs) == 1:
        report.add(node.line, "Say which value is the device's own, like target: 1 h.")
    return values


def _read_kept(entry: tuple[Text, Node], fields: Mapping[str, Any], report: Report) -> Plain:
    kept = {field.name: fields[field.name] for field in _KEEP}
    taken = take_keys(entry[1], tuple(field.key for field in _KEEP), report) or {}
    for field in _KEEP:
        if field.key in taken:
            said = take_value(*taken[field.key], field.value, report)
            if said is not REFUSED:
                kept[field.name] = said
    try:
        Rules.of(Policy(**kept)).check()
    except ValueError as error:
        report.add(entry[0].line, f"“keep”: {error}")
    return make_plain_fields(_KEEP, kept)


def group_own(rows: Iterable[tuple[str, str, Plain]]) -> tuple[OwnValues, ...]:
    """Given device, value and what is stored, return each device with its values."""
    found: dict[str, dict[str, Plain]] = {}
    for device, name, stored in rows:
        found.setdefault(device, {})[name] = stored
    return tuple(OwnValues(device, values) for device, values in sorted(found.items()))
