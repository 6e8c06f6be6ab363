"""A copy that shares its blocks with the original (XFS). Each file of it is of one instant, the whole is not:
so it is taken only of what stands still, and makes a cold backup short where the file system knows no
snapshots."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from agents.binds import Bind
from agents.commands import Command, join
from agents.events import Consistency
from agents.facts import DeviceFacts
from agents.facts.mounts import find_mount
from agents.snapshots.contract import Claim, Owes, Refusal, Shot, SnapshotProvider
from agents.snapshots.traces import find_command

# Whoever may rename what lies at the top could have root copy and remove elsewhere.
_PREPARE = """
set -eu
top=${1%/*}
set -- "$1" $(stat -c '%u %a' -- "${top:-/}")
if [ "$2" != 0 ] || [ $((0$3 & 022)) -ne 0 ]; then
  echo "${top:-/} may be changed by others than root: no copy can be kept in it" >&2
  exit 1
fi
mkdir -m 0700 -- "$1"
sync -f -- "$1" 2>/dev/null || sync
"""
_REMOVE = """
[ -e "$1" ] || [ -L "$1" ] || exit 0
case ${1##*/} in .hotfleet-*-*) ;; *) exit 1 ;; esac
[ ! -L "$1" ] && [ "$(stat -c %u -- "$1")" = 0 ] || { echo "$1 is not what the run made" >&2; exit 1; }
rm -rf --one-file-system -- "$1"
"""


class Reflink(SnapshotProvider):
    name = "reflink"
    label = "reflink copy"
    needs_stop = True

    def can_take(self, path: str, facts: DeviceFacts) -> Claim | Refusal:
        mount = find_mount(path, facts.mounts)
        if mount.kind != "xfs":
            return Refusal(f"{mount.point} is {mount.kind}, not XFS")
        if mount.point not in facts.reflinks:
            return Refusal(
                f"the XFS at {mount.point} shares no blocks (or xfs_info is missing)",
                "Install xfsprogs on the device. What was made without reflink=1 must be made anew.",
            )
        if mount.is_read_only:
            return Refusal(f"{mount.point} is read-only: no copy can be kept in it")
        if path == mount.point:
            return Refusal(f"{path} is the top of its file system: a copy of it would hold itself")
        return Claim(
            Consistency.FILE_SYSTEM,
            f"{path} is on XFS: while it stands still, a copy that shares its blocks is made",
            cost="restic reads all of it again, since every file of a copy is new",
        )

    def units(self, path: str, facts: DeviceFacts) -> tuple[str, ...]:
        return (f"reflink:{path}",)

    def prepare(self, runner: Owes, paths: Sequence[str], facts: DeviceFacts, *, number: int = 0) -> Shot:
        script: list[str] = []
        binds: list[Bind] = []
        keys: list[str] = []
        tops = dict.fromkeys(find_mount(path, facts.mounts).point for path in paths)
        for top in tops:
            directory = f"{top.rstrip('/')}/.{runner.name}{f'-{number}' if number else ''}"
            keys.append(f"reflink-{len(keys)}-{number}")
            runner.owe(keys[-1], remove_command(directory))
            runner.run(Command.of("/bin/sh", "-c", _PREPARE, "hotfleet", directory), timeout_s=600.0)
            own = [path for path in paths if find_mount(path, facts.mounts).point == top]
            for at, path in enumerate(own):
                place = f"{directory}/{at}"
                words = ("cp", "-a", "-x", "--reflink=always", "--", path, f"{place}/")
                script.append(f"{join(('mkdir', '--', place))} && {join(words)} || return 1")
                binds.append(Bind(f"{place}/{posixpath.basename(path)}", path))
        return Shot(self.name, Consistency.FILE_SYSTEM, "\n".join(script), tuple(binds), tuple(keys))

    def find_leftovers(self, facts: DeviceFacts) -> Command | None:
        return find_command(facts.reflinks) if facts.reflinks else None

    def remove_leftover(self, place: str) -> Command:
        return remove_command(place)


def remove_command(directory: str) -> Command:
    """Given the directory of a run's copies, return the idempotent command that removes it."""
    return Command.of("/bin/sh", "-c", _REMOVE, "hotfleet", directory)
