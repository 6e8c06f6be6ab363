"""Read-only btrfs snapshots. Atomic for each subvolume; a nested one is not in its parent's snapshot and gets
its own (the parent's holds a placeholder with inode 2, which the bind of the nested one covers)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.binds import Bind
from agents.commands import Command, join, to_text
from agents.events import Consistency
from agents.facts import DeviceFacts, Mount, Subvolume
from agents.facts.btrfs import find_subvolume, path_in_file_system, path_on_device
from agents.facts.mounts import find_mount, is_within
from agents.snapshots.contract import (
    Claim,
    Evidence,
    Owes,
    Proof,
    Refusal,
    Shot,
    SnapshotProvider,
    Taken,
)
from agents.snapshots.generations import read_live, read_snapshots, show_command
from agents.snapshots.traces import find_command, remove_command

# inode 256 is the top of a subvolume: anything else was changed since the facts were read.
# What is dirty is written first, so that the commit of the snapshot is short (900 MB dirty: 11 ms, else 591).
_PREPARE = """
set -eu
directory=$1
shift
# not by umask: a default ACL of the directory above would overrule it
mkdir -m 0700 -- "$directory"
for top in "$@"; do
  [ "$(stat -c %i -- "$top")" = 256 ] || { echo "$top is no subvolume any more" >&2; exit 1; }
  btrfs filesystem sync "$top" >/dev/null
done
"""

# Prints the first place in which nobody but root can rename or replace what we make; the sticky bit is enough
# for the places above it.
_FIND_SAFE = """
is_safe() {
  at=$1
  while :; do
    set -- $(stat -c '%u %a' -- "$at")
    [ "${1-}" = 0 ] || return 1
    case $at:$((0$2 & 01000)) in "$place:"* | *:0) [ $((0$2 & 022)) -eq 0 ] || return 1 ;; esac
    [ "$at" != / ] || return 0
    at=${at%/*}
    at=${at:-/}
  done
}
for place in "$@"; do
  if is_safe "$place"; then printf '%s\\0' "$place"; exit 0; fi
done
"""
_MOST_PLACES = 50

# Writing out what is dirty may take long on a slow disk; nothing is held meanwhile.
_SYNC_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Layer:
    """One subvolume of a source: its `top` on the device, and what of it is seen at `true_path`."""

    device: str
    top: str
    relative: str
    true_path: str


class Btrfs(SnapshotProvider):
    name = "btrfs"
    label = "btrfs snapshot"

    def can_take(self, path: str, facts: DeviceFacts) -> Claim | Refusal:
        mount = find_mount(path, facts.mounts)
        if mount.kind != "btrfs":
            return Refusal(f"{mount.point} is {mount.kind}, not btrfs")
        if facts.tool("btrfs") is None:
            return Refusal("the program btrfs is missing", "Install btrfs-progs on the device.")
        known = facts.btrfs_of(mount)
        if known is None:
            return Refusal(f"btrfs does not list the subvolumes of {mount.point}")
        if find_subvolume(path_in_file_system(path, mount), known).is_read_only:
            return Refusal(f"the subvolume that holds {path} is read-only: no snapshot can be kept in it")
        layers = find_layers(path, facts)
        if not layers:
            return Refusal(
                f"the top of the subvolume that holds {path} is not mounted writable",
                "Mount the whole subvolume somewhere on the device.",
            )
        many = f", {len(layers)} subvolumes one after another" if len(layers) > 1 else ""
        return Claim(
            Consistency.CRASH,
            f"{path} is on btrfs: a snapshot stops nothing and is atomic for each subvolume{many}",
            cost="some milliseconds, and the space of what changes meanwhile",
        )

    def units(self, path: str, facts: DeviceFacts) -> tuple[str, ...]:
        return tuple(f"{layer.device}:{layer.top}" for layer in find_layers(path, facts))

    def prepare(self, runner: Owes, paths: Sequence[str], facts: DeviceFacts, *, number: int = 0) -> Shot:
        layers = [layer for path in paths for layer in find_layers(path, facts)]
        binds: dict[str, Bind] = {}
        keys: list[str] = []
        script: list[str] = []
        places: dict[str, str] = {}
        for device in dict.fromkeys(layer.device for layer in layers):
            own = [layer for layer in layers if layer.device == device]
            tops = list(dict.fromkeys(layer.top for layer in own))
            place = _find_place(runner, device, tops, facts).rstrip("/")
            directory = f"{place}/.{runner.name}{f'-{number}' if number else ''}"
            key = f"btrfs-{device.replace(':', '-')}-{number}"
            runner.owe(key, remove_command(directory))
            keys.append(key)
            prepare = Command.of("/bin/sh", "-c", _PREPARE, "hotfleet", directory, *tops)
            runner.run(prepare, timeout_s=_SYNC_TIMEOUT_S)
            for index, top in enumerate(tops):
                words = ("btrfs", "subvolume", "snapshot", "-r", "--", top, f"{directory}/{index}")
                script.append(f"{join(words)} >/dev/null || return 1")
            if place not in [top.rstrip("/") for top in tops]:
                # Elsewhere, so that taking and dropping it changes nothing of what was taken.
                places |= {top: f"{directory}/{index}" for index, top in enumerate(tops)}
            for layer in own:
                snapshot = f"{directory}/{tops.index(layer.top)}{layer.relative}"
                binds[layer.true_path] = Bind(snapshot, layer.true_path)
        evidence = []
        for path in paths:
            tops = [layer.top for layer in find_layers(path, facts)]
            if all(top in places for top in tops):
                evidence.append(Evidence(path, tuple(places[top] for top in tops)))
        taken = tuple(binds.values())
        return Shot(self.name, Consistency.CRASH, "\n".join(script), taken, tuple(keys), tuple(evidence))

    def finish(self, runner: Owes, shot: Shot) -> Taken:
        proofs = []
        for evidence in shot.evidence:
            said = runner.run(show_command(evidence.snapshots, writes_out=False))
            text = read_snapshots(said.stdout, len(evidence.snapshots))
            proofs += [Proof(evidence.path, text)] if text else []
        return Taken(shot.method, shot.consistency, shot.binds, shot.keys, tuple(proofs))

    def prove(self, runner: Owes, path: str, facts: DeviceFacts) -> Proof | None:
        tops = [layer.top for layer in find_layers(path, facts)]
        said = runner.run(show_command(tops, writes_out=True), timeout_s=_SYNC_TIMEOUT_S, check=False)
        text = read_live(said.stdout, len(tops)) if said.is_success else ""
        return Proof(path, text) if text else None

    def find_leftovers(self, facts: DeviceFacts) -> Command | None:
        places = visible_tops(facts)
        return find_command(places) if places else None

    def remove_leftover(self, place: str) -> Command:
        return remove_command(place)


def _find_place(runner: Owes, device: str, tops: Sequence[str], facts: DeviceFacts) -> str:
    """Given the tops of what is taken, return where the snapshots go: a top of the same file system that is
    root's alone if there is one. Elsewhere its owner could swap our directory; removing is safe even then.
    One that is not taken itself comes first: then nothing of what is taken changes by it."""
    seen = [top for top in visible_tops(facts, device) if top not in tops]
    others = [top for top in seen if not find_mount(top, facts.mounts).is_read_only]
    places = [*sorted(others, key=len), *tops][:_MOST_PLACES]
    said = runner.run(Command.of("/bin/sh", "-c", _FIND_SAFE, runner.name, *places))
    place = to_text(said.stdout).removesuffix("\0")
    return place if place in places else tops[0]


def find_layers(path: str, facts: DeviceFacts) -> list[Layer]:
    """Given a real path on btrfs, return its subvolume and every nested one that is seen below it.

    Empty when the top of its subvolume is seen nowhere on the device."""
    mount = find_mount(path, facts.mounts)
    known = facts.btrfs_of(mount)
    if known is None:
        return []
    inner = path_in_file_system(path, mount)
    holder = find_subvolume(inner, known)
    top = _find_top(holder, mount, facts)
    if top is None:
        return []
    relative = inner[len(holder.path.rstrip("/")) :].rstrip("/")
    layers = [Layer(mount.device, top, relative, path)]
    nested = [seen for seen, each in _find_nested(path, facts) if not each.is_history]
    return layers + [Layer(mount.device, seen, "", seen) for seen in nested]


def find_history(path: str, facts: DeviceFacts) -> list[str]:
    """Given a real path, return the read-only snapshots below it: history of the device, never a source."""
    return [seen for seen, each in _find_nested(path, facts) if each.is_history]


def _find_nested(path: str, facts: DeviceFacts) -> list[tuple[str, Subvolume]]:
    """Where the subvolumes below a path are seen through the path's own mount, without those of any run."""
    mount = find_mount(path, facts.mounts)
    known = facts.btrfs_of(mount)
    inner = path_in_file_system(path, mount)
    nested = []
    for each in sorted(known.subvolumes if known is not None else (), key=lambda each: each.path):
        seen = path_on_device(each.path, mount)
        if seen is None or each.path == inner or not is_within(each.path, inner):
            continue
        if find_mount(seen, facts.mounts) == mount and "/.hotfleet-" not in each.path:
            nested.append((seen, each))
    return nested


def visible_tops(facts: DeviceFacts, device: str = "") -> tuple[str, ...]:
    """Return where the tops of writable btrfs subvolumes (of one file system) are seen: only there a run can
    leave something."""
    tops = set()
    for mount in facts.mounts:
        is_wanted = mount.kind == "btrfs" and device in ("", mount.device)
        known = facts.btrfs_of(mount) if is_wanted else None
        for subvolume in known.subvolumes if known is not None else ():
            seen = path_on_device(subvolume.path, mount)
            hidden = subvolume.is_read_only or "/.hotfleet-" in subvolume.path
            if seen is not None and not hidden and find_mount(seen, facts.mounts) == mount:
                tops.add(seen)
    return tuple(sorted(tops))


def _find_top(subvolume: Subvolume, mount: Mount, facts: DeviceFacts) -> str | None:
    """The mount itself first; then any other of the same file system that shows the top."""
    others = [each for each in facts.mounts if each.device == mount.device and each != mount]
    for each in (mount, *others):
        seen = path_on_device(subvolume.path, each)
        if seen is not None and not each.is_read_only and find_mount(seen, facts.mounts) == each:
            return seen
    return None
