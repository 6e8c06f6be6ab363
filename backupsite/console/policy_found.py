"""What was found on the devices of a policy and is not in it yet. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from agents.facts import DeviceFacts
from agents.facts.mounts import is_within
from backupsite.policies.naming import name_source


@dataclass(frozen=True)
class Found:
    """Something that a row can be made of: its key, its name, and on how many devices it is."""

    key: str
    name: str
    icon: str
    device_count: int


def find_more(known: Iterable[DeviceFacts | None], keys: Collection[str]) -> list[Found]:
    """Given the facts of devices and the keys that are in the policy, return what is not: applications first,
    then file systems that no path of it covers."""
    counted: dict[str, int] = {}
    for facts in known:
        if facts is None:
            continue
        for key in {*(each.key for each in facts.instances), *_data_mounts(facts)}:
            counted[key] = counted.get(key, 0) + 1
    paths = [key for key in keys if key.startswith("/")]
    more = [
        Found(key, name_source(key), "disk" if key.startswith("/") else "repository", count)
        for key, count in counted.items()
        # What cannot be typed cannot be sent back by a form either.
        if key.isprintable()
        and key not in keys
        and not (key.startswith("/") and any(is_within(key, path) for path in paths))
    ]
    return sorted(more, key=lambda each: (each.key.startswith("/"), each.key))


def list_instances(known: Iterable[DeviceFacts | None]) -> list[tuple[str, str]]:
    """Given the facts of devices, return what may be typed as an instance, with its application's words."""
    names = {each.name: each.label for facts in known if facts is not None for each in facts.instances}
    return sorted((name, label) for name, label in names.items() if name.isprintable())


def _data_mounts(facts: DeviceFacts) -> set[str]:
    """The file systems of data beside the root: the root is seldom meant as a whole."""
    plain = {
        mount.point
        for mount in facts.mounts
        if not (mount.is_pseudo or mount.is_network or mount.is_read_only) and mount.point != "/"
    }
    return {point for point in plain if not point.startswith(("/boot", "/run", "/snap"))}
