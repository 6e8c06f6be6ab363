"""Which part of a restore goes where: pure, from the request and the mounts of the device."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.commands import to_bytes
from agents.errors import PlanRefused, RestoreTargetRefused
from agents.facts.mounts import KERNEL_KINDS, Mount, find_mount, is_within, mounts_below
from agents.own_places import OWN_PLACES
from agents.restoring.requests import Mode, RestoreRequest

_LONGEST_PATH = 3000
# They are words of one command on the device.
_LONGEST_LIST = 500_000
_NO_PLACE = KERNEL_KINDS | {"devtmpfs"}


@dataclass(frozen=True, slots=True)
class Leg:
    """The part of a restore that goes to one file system.

    restic is asked for `names` (relative, none: everything) of `folder` of the restore point; that folder's
    content belongs into `destination`. A swap takes `items`, relative to it; a merge has none. When a picked
    folder gets another name, `called` is the one that it has in the restore point ("": `folder` is the root
    of the point, and has none)."""

    folder: str
    names: tuple[str, ...]
    destination: str
    items: tuple[str, ...] = ()
    called: str | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Absolute paths of what changes on the device."""
        return tuple(_join(self.destination, item) for item in self.items) or (self.destination,)

    @property
    def landings(self) -> tuple[str, ...]:
        """Absolute paths of what is written, or written into."""
        names = self.items or self.names
        return tuple(_join(self.destination, name) for name in names) or (self.destination,)


def make_legs(request: RestoreRequest, mounts: Sequence[Mount], *, is_file: bool) -> tuple[Leg, ...]:
    """Given a request, the mounts of the device and whether `base` is a single file, return the legs.

    Raise RestoreTargetRefused for a place that nothing may be restored to, PlanRefused for a bad choice."""
    base = _clean(request.base, "The folder of the restore point")
    paths = _without_nested(_clean(path, "A picked path") for path in request.paths)
    if sum(len(to_bytes(path)) + 12 for path in paths) > _LONGEST_LIST:
        raise PlanRefused("Too many things are picked one by one.", remedy="Pick the folders that hold them.")
    if any(not is_within(path, base) for path in paths):
        raise PlanRefused(f"Something that is picked does not lie in {base}.", remedy="Pick it again.")
    if request.target is None:
        legs = _original(paths or (base,), request.mode, mounts)
    else:
        target = _clean(request.target, "The folder to restore into")
        legs = (_elsewhere(paths if paths != (base,) else (), base, target, request.mode, is_file),)
    for leg in legs:
        _check_places(leg, request, mounts)
    return legs


def _elsewhere(paths: tuple[str, ...], base: str, target: str, mode: Mode, is_file: bool) -> Leg:
    if target == "/":
        raise RestoreTargetRefused("A restore into / itself is not done.", remedy="Name a folder of its own.")
    if is_file and not paths:
        paths, base = (base,), posixpath.dirname(base)
    names = tuple(posixpath.relpath(path, base) for path in paths)
    if mode is Mode.MERGE or names:
        return Leg(base, names, target, () if mode is Mode.MERGE else names)
    above, name = posixpath.split(base)
    return Leg(
        above, (name,) if name else (), posixpath.dirname(target), (posixpath.basename(target),), called=name
    )


def _original(paths: tuple[str, ...], mode: Mode, mounts: Sequence[Mount]) -> tuple[Leg, ...]:
    if "/" in paths:
        raise RestoreTargetRefused(
            "A restore of / into its original place is not done.", remedy="Pick the folders that it shall be."
        )
    groups: dict[str, list[str]] = {}
    for path in paths:
        point = find_mount(path, mounts).point
        groups.setdefault(point, []).append(posixpath.relpath(path, point))
    return tuple(
        Leg(point, () if "." in names else tuple(names), point, () if mode is Mode.MERGE else tuple(names))
        for point, names in groups.items()
    )


def _check_places(leg: Leg, request: RestoreRequest, mounts: Sequence[Mount]) -> None:
    kind = find_mount(leg.destination, mounts).kind
    if kind in _NO_PLACE:
        raise RestoreTargetRefused(
            f"{leg.destination} lies on {kind}, which keeps no files.", remedy="Name a folder on a disk."
        )
    console = list(request.protected)
    if request.is_local:
        console += [
            str(path) for path in (request.place.path, request.place.journals, request.place.storage) if path
        ]
    ours = [*OWN_PLACES, *console]
    for place in leg.landings:
        if ".hotfleet-" in place or any(is_within(place, each) for each in ours):
            raise RestoreTargetRefused(
                f"{place} lies in a directory of Hotfleet itself.", remedy="Name a folder of its own."
            )
        # What a folder of the restore point holds is not known here: it may be the console's own database.
        if not leg.items and (inside := [each for each in console if is_within(each, place)]):
            raise RestoreTargetRefused(
                f"{place} holds {inside[0]}, a directory of Hotfleet itself: its files could be replaced.",
                remedy="Pick the things beside it one by one, or restore into a folder of its own.",
            )
    for place in leg.places if leg.items else ():
        if inside := [each for each in ours if is_within(each, place)]:
            raise RestoreTargetRefused(
                f"{place} holds {inside[0]}, a directory of Hotfleet itself: it would be swapped away.",
                remedy="Pick what is beside it, or let what is there stay.",
            )
        if find_mount(place, mounts).point == place or mounts_below(place, mounts):
            raise RestoreTargetRefused(
                f"Another file system is mounted at {place}, or below it: it cannot be swapped.",
                remedy="Pick the things in it one by one, or let what is there stay.",
            )


def _clean(path: str, what: str) -> str:
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path or len(path) > _LONGEST_PATH:
        raise RestoreTargetRefused(f"{what} must be a plain absolute path.")
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))


def _without_nested(paths: Iterable[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for path in sorted(set(paths), key=lambda each: each.rstrip("/") + "/"):
        if not kept or not is_within(path, kept[-1]):
            kept.append(path)
    return tuple(kept)


def _join(folder: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(folder, name))
