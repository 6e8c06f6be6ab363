"""Is there room for a restore: looked at before anything is written."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace

from agents.commands import Command
from agents.errors import RestoreTargetRefused
from agents.facts.mounts import Mount, find_mount
from agents.restoring.legs import Leg
from agents.restoring.requests import Mode, RestoreRequest
from agents.restoring.staging import Tools, check_ground
from agents.runner import Runner

_MOST_FOLDERS = 100
_MEASURE_S = 3600.0
_LET_IT_STAY = "Let what is there stay, or restore into another folder."
# The root of a subvolume has this inode, and nothing else has. What is missing holds none.
_SUBVOLUMES = r"""
for each; do
  [ ! -d "$each" ] || [ -L "$each" ] || find "$each" -xdev -type d -inum 256 -print0 | head -c 4096
done
"""


_FOLDERS = r"""
for each; do [ ! -d "$each" ] || [ -L "$each" ] || printf '%s\0' "$each"; done | head -c 4096
"""


def find_grounds(tools: Tools, request: RestoreRequest, mounts: Sequence[Mount]) -> tuple[Mount, ...]:
    """Given the mounts of a device, return them and, as if each were one, the subvolumes of btrfs in which
    what is picked has its original place: nothing can be renamed into them from elsewhere."""
    found = {mount.point: mount for mount in mounts}
    if request.target is None:
        folders = {posixpath.dirname(path) for path in request.paths or (request.base,)}
        for folder in sorted(folders)[:_MOST_FOLDERS]:
            mount = find_mount(folder, mounts)
            top = tools.look(folder).top if mount.kind == "btrfs" else mount.point
            found.setdefault(top, replace(mount, point=top))
    return tuple(found.values())


def check_room(
    tools: Tools, legs: Sequence[Leg], request: RestoreRequest, mounts: Sequence[Mount], *, needed_bytes: int
) -> None:
    """Given the legs of a restore and its size (0: unknown), look at each destination. Raise
    RestoreTargetRefused when staging cannot be there, when it is too small, or when the mode is not possible.
    """
    for leg in legs:
        ground = tools.look(leg.destination)
        check_ground(ground, leg.destination)
        free = ground.free_bytes
        mount = find_mount(leg.destination, mounts)
        if leg.items and mount.kind == "btrfs":
            _check_subvolumes(tools, leg)
        if request.mode is Mode.EXACT and mount.is_layered:
            check_layers(tools.runner, leg.places, remedy=_LET_IT_STAY)
        if request.mode is Mode.DIRECT:
            _check_parents(tools, leg)
            free += _measure(tools, leg) if free < needed_bytes and not mount.may_share else 0
        if free < needed_bytes:
            why = (
                " What is removed may live on in snapshots, so it does not count." if mount.may_share else ""
            )
            raise RestoreTargetRefused(
                f"The restore needs {needed_bytes:,} bytes, and {free:,} are free there."
                + (why if request.mode is Mode.DIRECT else ""),
                remedy="Name a folder on a larger disk, or pick fewer files.",
            )


def _check_subvolumes(tools: Tools, leg: Leg) -> None:
    found = tools.runner.run(Command.of("sh", "-c", _SUBVOLUMES, "sh", *leg.places), timeout_s=_MEASURE_S)
    if found.stdout:
        raise RestoreTargetRefused(
            f"{found.text.partition(chr(0))[0]} is a subvolume of btrfs: it cannot be swapped.",
            remedy="Pick the things in it one by one, or let what is there stay.",
        )


def check_layers(runner: Runner, places: Sequence[str], *, remedy: str) -> None:
    """Given places on a layered file system, raise RestoreTargetRefused, with that remedy, when one is a
    folder: who dies while it is renamed leaves half of it."""
    found = runner.run(Command.of("sh", "-c", _FOLDERS, "sh", *places), timeout_s=_MEASURE_S)
    if found.stdout:
        raise RestoreTargetRefused(
            f"{found.text.partition(chr(0))[0]} is a folder on a layered file system (overlay): it cannot be "
            "swapped in one step.",
            remedy=remedy,
        )


def _check_parents(tools: Tools, leg: Leg) -> None:
    folders = {posixpath.dirname(place) for place in leg.places}
    if len(folders) > _MOST_FOLDERS:
        raise RestoreTargetRefused(
            "Too many folders are to be removed first.", remedy="Pick the folders that hold them."
        )
    for folder in sorted(folders):
        if not tools.look(folder).is_safe:
            raise RestoreTargetRefused(
                f"{folder} may be changed by others than root: nothing is removed first there.",
                remedy="Restore it by a swap, or into another folder.",
            )


def _measure(tools: Tools, leg: Leg) -> int:
    """Return the bytes that removing the places of a leg sets free; what is not there counts nothing."""
    command = Command.of("du", "-skx", "--", *leg.places)
    lines = tools.runner.run(command, timeout_s=_MEASURE_S, check=False).text.splitlines()
    sizes = [line.partition("\t")[0] for line in lines]
    return sum(int(size) for size in sizes if size.isascii() and size.isdigit()) * 1024
