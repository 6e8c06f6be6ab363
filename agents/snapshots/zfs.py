"""ZFS snapshots. Those of one pool are taken by one command, in one transaction (zfs-snapshot(8)).

Not exercised: no machine of the tests has ZFS. Built after the documents of OpenZFS and what its tools print.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from agents.binds import Bind, Volume
from agents.commands import Command, join
from agents.events import Consistency
from agents.facts import DeviceFacts, Mount
from agents.facts.mounts import find_mount
from agents.snapshots.contract import Claim, Owes, Refusal, Shot, SnapshotProvider

# zfs(8): what a dataset may be called; no blank is taken here, although ZFS allows one.
_DATASET = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.:-]*(/[A-Za-z0-9_.:-]+)*$")
# Names a hold, so that nobody's clean-up destroys a snapshot while it is read.
_TAG = "hotfleet"

# A snapshot that was mounted a moment ago may be busy (openzfs #12096): some tries, then by -d, which
# destroys it when its last reader ends. Gone is only what a list that was read does not hold: `zfs list`
# fails for a suspended pool or a missing module as it does for a missing snapshot.
_REMOVE = """
snapshot=$1
case $snapshot in *@hotfleet-*-*) ;; *) echo "$snapshot is no snapshot of a run" >&2; exit 1 ;; esac
tries=0
is_among() { # a name, lines
  case "
$2
" in *"
$1
"*) ;; *) return 1 ;; esac
}
while :; do
  found=$(zfs list -H -o name) || exit 1
  is_among "${snapshot%@*}" "$found" || exit 0
  found=$(zfs list -H -t snapshot -d 1 -o name -- "${snapshot%@*}") || exit 1
  is_among "$snapshot" "$found" || exit 0
  zfs release hotfleet "$snapshot" >/dev/null 2>&1
  zfs destroy "$snapshot" && continue
  tries=$((tries + 1))
  [ "$tries" -lt 4 ] || { zfs destroy -d "$snapshot"; exit; }
  sleep 1
done
"""
_FIND = """
zfs list -H -t snapshot -o name | while IFS= read -r snapshot; do
  name=${snapshot##*@}
  case $name in hotfleet-*-*) ;; *) continue ;; esac
  run=$name
  case ${run#hotfleet-*-} in *-*) run=${run%-*} ;; esac
  printf '%s\\0%s\\0' "$run" "$snapshot"
done
"""


class Zfs(SnapshotProvider):
    name = "zfs"
    label = "ZFS snapshot"

    def can_take(self, path: str, facts: DeviceFacts) -> Claim | Refusal:
        mount = find_mount(path, facts.mounts)
        if mount.kind != "zfs":
            return Refusal(f"{mount.point} is {mount.kind}, not ZFS")
        if facts.tool("zfs") is None:
            return Refusal("the program zfs is missing", "Install zfsutils-linux on the device.")
        if not _DATASET.match(mount.source):
            return Refusal(
                f"the dataset of {mount.point} has a name that is not taken: {mount.source!r}",
                "Rename it to letters, digits and .:-_ only.",
            )
        return Claim(
            Consistency.CRASH,
            f"{path} is on ZFS: a snapshot stops nothing, and those of one pool are of one instant",
            cost="some milliseconds, and the space of what changes meanwhile",
        )

    def units(self, path: str, facts: DeviceFacts) -> tuple[str, ...]:
        return (f"zfs:{_pool(find_mount(path, facts.mounts))}",)

    def prepare(self, runner: Owes, paths: Sequence[str], facts: DeviceFacts, *, number: int = 0) -> Shot:
        name = f"{runner.name}{f'-{number}' if number else ''}"
        mounts = [find_mount(path, facts.mounts) for path in paths]
        script: list[str] = []
        keys: list[str] = []
        for pool in dict.fromkeys(map(_pool, mounts)):
            datasets = dict.fromkeys(mount.source for mount in mounts if _pool(mount) == pool)
            snapshots = [f"{dataset}@{name}" for dataset in datasets]
            for snapshot in snapshots:
                keys.append(f"zfs-{len(keys)}-{number}")
                runner.owe(keys[-1], remove_command(snapshot))
            script.append(f"{join(('zfs', 'snapshot', *snapshots))} || return 1")
            script.append(f"{join(('zfs', 'hold', _TAG, *snapshots))} || return 1")
        binds = tuple(_bind(path, mount, name) for path, mount in zip(paths, mounts, strict=True))
        return Shot(self.name, Consistency.CRASH, "\n".join(script), binds, tuple(keys))

    def find_leftovers(self, facts: DeviceFacts) -> Command | None:
        return Command.of("/bin/sh", "-c", _FIND) if facts.tool("zfs") is not None else None

    def remove_leftover(self, place: str) -> Command:
        return remove_command(place)


def remove_command(snapshot: str) -> Command:
    """Given dataset@name of a run's snapshot, return the idempotent command that releases and destroys it."""
    return Command.of("/bin/sh", "-c", _REMOVE, "hotfleet", snapshot)


def _pool(mount: Mount) -> str:
    return mount.source.partition("/")[0]


def _bind(path: str, mount: Mount, name: str) -> Bind:
    below = path[len(mount.point.rstrip("/")) :].strip("/")
    inner = "/".join(part for part in (mount.root.strip("/"), below) if part)
    return Bind(f"/{inner}", path, Volume(f"{mount.source}@{name}", "zfs", "ro"))
