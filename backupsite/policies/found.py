"""What discovery found on a device, short, and what of it nobody decided about. Pure.

Found are applications and the file systems of the device itself. Decided is what a source of an enabled
policy names, keeps or leaves out. A file system is decided about when a source keeps or leaves out all of it,
or somebody chose a path in it: what is chosen there is a person's business. An application's data decides
about a file system of its own, not about the root file system, which holds the rest of the machine.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from agents.facts import DeviceFacts, Instance
from agents.facts.mounts import is_within
from backupsite.web.visible import make_visible, shorten_middle

# As many are named in a sentence.
MOST_NAMED = 2
LONGEST_NAME = 48


@dataclass(frozen=True, slots=True)
class Found:
    """An application, with its key and the places of its data, or, with key "", a file system, with the
    points at which it is mounted, the shortest first. `is_apart`: a source above it leaves it out."""

    key: str
    label: str
    places: tuple[str, ...]
    is_apart: bool = False


@dataclass(frozen=True, slots=True)
class FoundList:
    """All that was found on a device at one moment."""

    entries: tuple[Found, ...] = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """What a source of an enabled policy keeps, or leaves out (`is_out`): `path` "" for an application."""

    key: str
    path: str
    is_out: bool = False


def list_found(facts: DeviceFacts) -> FoundList:
    """Given the facts of a device, return what was found. File systems of the kernel, of the network and
    read-only ones are no data of this device, nor is what lies in /tmp."""
    points: dict[tuple[str, bool], list[str]] = {}
    for mount in facts.mounts:
        if not (mount.is_pseudo or mount.is_network or mount.is_read_only):
            points.setdefault((mount.device, mount.is_apart), []).append(mount.point)
    file_systems = [
        Found("", (shown := sorted(each, key=lambda point: (len(point), point)))[0], tuple(shown), is_apart)
        for (_, is_apart), each in points.items()
    ]
    lasting = [each for each in facts.instances if not _is_passing(each)]
    instances = [Found(each.key, each.label, each.places) for each in lasting]
    return FoundList((*instances, *file_systems))


def _is_passing(instance: Instance) -> bool:
    """What lies in /tmp is gone after the next start of the machine: nobody has to decide about it."""
    return bool(instance.places) and all(is_within(place, "/tmp") for place in instance.places)  # noqa: S108


def write_found(facts: DeviceFacts) -> str:
    """Given the facts of a device, return what was found as ASCII text, to be stored."""
    return json.dumps(
        [[each.key, each.label, each.places, each.is_apart] for each in list_found(facts).entries]
    )


def read_found(text: str) -> FoundList:
    """Given what `write_found` returned, return it; nothing for "": nobody looked yet."""
    rows: list[tuple[str, str, list[str], bool]] = json.loads(text) if text else []
    return FoundList(
        tuple(Found(key, label, tuple(places), is_apart) for key, label, places, is_apart in rows)
    )


def find_undecided(found: FoundList, decided: Iterable[Decided]) -> list[Found]:
    """Given what was found and what was decided, return what nobody decided about."""
    sources = list(decided)
    keys, paths = {source.key for source in sources}, {source.path for source in sources if source.path}
    out = {source.path for source in sources if source.path and source.is_out}
    applications = [each for each in found.entries if each.key]
    file_systems = [each for each in found.entries if not each.key]
    places = [place for each in applications if each.key in keys for place in each.places]
    chosen = _own_file_systems(file_systems, paths) | (_own_file_systems(file_systems, places) - {"/"})
    return [
        *(each for each in applications if each.key not in keys and not _is_covered(each.places, paths)),
        *(
            each
            for each in file_systems
            if each.label not in chosen
            and not any(
                is_within(point, path) for point in each.places for path in (out if each.is_apart else paths)
            )
        ),
    ]


def _is_covered(places: Collection[str], paths: Collection[str]) -> bool:
    return bool(places) and all(any(is_within(place, path) for path in paths) for place in places)


def _own_file_systems(file_systems: Collection[Found], paths: Iterable[str]) -> set[str]:
    """Return the labels of the file systems in which these paths lie."""
    points = sorted(((point, each.label) for each in file_systems for point in each.places), key=_longest)
    holders = (next((label for point, label in points if is_within(path, point)), None) for path in paths)
    return {label for label in holders if label is not None}


def _longest(point: tuple[str, str]) -> int:
    return -len(point[0])


def say_undecided(undecided: Collection[Found]) -> str:
    """Given what nobody decided about, return its names, ready to be shown: "PostgreSQL 15/main, /data and
    3 more"; "" for nothing."""
    names = [shorten_middle(make_visible(each.label), LONGEST_NAME) for each in undecided]
    shown = ", ".join(names[:MOST_NAMED])
    return f"{shown} and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else shown
