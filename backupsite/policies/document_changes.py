"""What a file would change, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from backupsite.policies.document import PolicyState, make_plain, sorted_sources
from backupsite.policies.document_values import Plain
from backupsite.policies.naming import name_source
from backupsite.policies.writing import key_of
from backupsite.web.visible import make_visible

# Longer lists say how many more there are.
MOST_NAMED = 5


@dataclass(frozen=True)
class Change:
    """What becomes of one policy: `lines` are the changes, none when it stays as it is."""

    name: str
    is_new: bool
    lines: tuple[str, ...]
    device_count: int

    @property
    def is_change(self) -> bool:
        return self.is_new or bool(self.lines)


def compare(before: PolicyState | None, after: PolicyState, device_count: int) -> Change:
    """Given a policy as it is, None for a new one, and as it will be, return the change. `device_count` are
    the devices that it has then."""
    if before is None:
        return Change(after.name, True, (), device_count)
    old, new = make_plain(before), make_plain(after)
    lines = [
        line
        for key in dict.fromkeys((*old, *new))
        if key != "sources"
        for line in _compare_value(key, old.get(key), new.get(key))
    ]
    return Change(after.name, False, (*lines, *_compare_sources(before, after)), device_count)


def _compare_value(key: str, old: Plain | None, new: Plain | None) -> list[str]:
    if old == new:
        return []
    if isinstance(old, list) and isinstance(new, list):
        return _compare_lists(key, [_say(each) for each in old], [_say(each) for each in new])
    if isinstance(old, dict) and isinstance(new, dict):
        keys = dict.fromkeys((*old, *new))
        return [
            line for each in keys for line in _compare_value(f"{key}, {each}", old.get(each), new.get(each))
        ]
    return [f"{key}: {_say(old)} → {_say(new)}"]


def _say(value: Plain | None) -> str:
    if value is None:
        return "as usual"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_say(each)}" for key, each in value.items())
    if isinstance(value, list):
        return _name(value)
    return make_visible(str(value))


def _compare_lists(key: str, old: list[str], new: list[str]) -> list[str]:
    gone, more = (
        [each for each in old if each not in set(new)],
        [each for each in new if each not in set(old)],
    )
    said = ((f"{key} added", more), (f"{key} removed", gone))
    return [f"{what}: {_name(names)}" for what, names in said if names]


def _name(names: Iterable[object]) -> str:
    listed = [make_visible(str(each)) for each in names]
    more = f" and {len(listed) - MOST_NAMED} more" if len(listed) > MOST_NAMED else ""
    return ", ".join(listed[:MOST_NAMED]) + more


def _compare_sources(before: PolicyState, after: PolicyState) -> list[str]:
    old, new = _by_key(before), _by_key(after)
    lines = [f"source {name_source(key)} added" for key in new if key not in old]
    lines += [f"source {name_source(key)} removed: its restore points stay" for key in old if key not in new]
    for key in (each for each in new if each in old):
        lines += _compare_value(f"source {name_source(key)}", old[key], new[key])
    return lines


def _by_key(state: PolicyState) -> Mapping[str, dict[str, Plain]]:
    listed = make_plain(state)["sources"]
    keys = [key_of(each) for each in sorted_sources(state)]
    return dict(zip(keys, listed, strict=True)) if isinstance(listed, list) else {}
