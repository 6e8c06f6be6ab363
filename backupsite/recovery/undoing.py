"""The undo of a restore where a folder cannot be exchanged: mounts, and subvolumes of btrfs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from agents.facts import DeviceFacts
from agents.facts.btrfs import path_on_device
from agents.facts.mounts import find_mount, is_within
from agents.restic.trees import Node
from agents.restore import Mode
from backupsite.recovery.folders import join
from backupsite.recovery.wishes import Wish

ListFolder = Callable[[str], Iterable[Node]]


def find_subvolumes(folder: str, facts: DeviceFacts) -> list[str]:
    """Given a folder of a device, return the subvolumes that are seen at it and below it. Pure."""
    seen = set()
    for mount in facts.mounts:
        known = facts.btrfs_of(mount) if mount.kind == "btrfs" else None
        for subvolume in known.subvolumes if known is not None else ():
            path = path_on_device(subvolume.path, mount)
            if path is not None and is_within(path, folder) and find_mount(path, facts.mounts) == mount:
                seen.add(path)
    return sorted(seen)


def open_up(undo: Wish, subvolumes: Sequence[str], list_folder: ListFolder) -> Wish:
    """Given an undo that exchanges a whole folder and the subvolumes there, return one that exchanges the
    things in it: a subvolume, and what holds one, stays and is opened. Without names nothing is there to put
    back. `list_folder` says what a folder of the restore point holds."""
    return replace(undo, names=tuple(_names(undo.folder, "", subvolumes, list_folder)), mode=Mode.EXACT)


def _names(folder: str, above: str, subvolumes: Sequence[str], list_folder: ListFolder) -> list[str]:
    names = []
    for node in list_folder(folder):
        path, name = join(folder, node.name), f"{above}{node.name}"
        if node.is_folder and any(is_within(each, path) for each in subvolumes):
            names += _names(path, f"{name}/", subvolumes, list_folder)
        else:
            names.append(name)
    return names


def say_stays(undo: Wish, facts: DeviceFacts | None) -> str:
    """Given an undo, return why what came with the restore stays in its folder; "" when it goes. Pure."""
    if undo.mode is Mode.MERGE:
        return "something is mounted there, so what came with the restore stays."
    if facts is not None and find_subvolumes(undo.folder, facts):
        return (
            "it is or holds a subvolume of btrfs, so what came with the restore beside what was there stays."
        )
    return ""
