"""The staging of each seat: where what comes is restored and prepared while what is there goes on working."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from agents.applications.comebacks import BY_HAND, Course, Seat
from agents.commands import Command
from agents.errors import PlanRefused, RestoreTargetRefused
from agents.events import Said, Tell
from agents.facts import DeviceFacts
from agents.facts.mounts import find_mount, mounts_below
from agents.restoring.room import check_layers
from agents.runner import Runner

# Whoever owns the folder may rename what lies in it: so a shell looks where it is, and works from there.
ENTERING = r"""
enter() { # given a staging
  if cd -- "$1" && [ "$(pwd -P)" = "$1" ] && [ -O . ]; then return 0; fi
  echo "$1 is not ours any more" >&2
  return 1
}
"""
# What a shell in a staging begins with.
ENTER = f'{ENTERING}enter "$1" || exit 1\n'
# The words: staging, "whole", "fresh" or "-", where the runs that live have their directories, whose a
# missing folder is to be ("uid:gid", or "-"), then the names that leave. Folders that are missing are made
# like the one in which they are. What a device that lost its power left of another comeback may be the only
# old data that there is: nothing comes on top of that.
_MAKE = r"""
set -u
umask 077
staging=$1 whole=$2 runs=$3 owner=$4 made=''
shift 4
holds() {
  [ "$whole" != whole ] || [ -z "$(ls -A "$1" 2>/dev/null)" ] || return 0
  old=$1
  shift
  for name; do [ ! -e "$old/$name" ] && [ ! -L "$old/$name" ] || return 0; done
  return 1
}
folder=${staging%/*}
[ -n "$folder" ] || folder=/
above=$folder
while [ ! -d "$above" ]; do above=${above%/*} && above=${above:-/}; done
cd -- "$above" && [ "$(pwd -P)" = "$above" ] || { echo "$above leads elsewhere" >&2; exit 1; }
like=$(stat -c %u:%g .)
rest=${folder#"$above"} && rest=${rest#/}
while [ -n "$rest" ]; do
  part=${rest%%/*}
  case $rest in */*) rest=${rest#*/} ;; *) rest='' ;; esac
  mkdir -m 0755 -- "$part" && chown -h -- "$like" "$part" && cd -P -- "$part" || exit 1
  made='made '
done
[ -z "$made" ] || [ "$owner" = - ] || chown -h -- "$owner" . || exit 1
[ "$(pwd -P)" = "$folder" ] || { echo "$folder leads elsewhere" >&2; exit 1; }
for each in .hotfleet-*-*-[0-9]*; do
  [ -d "$each" ] && [ ! -L "$each" ] && [ -O "$each" ] && [ ! -e "$each/good" ] || continue
  run=${each#.}
  [ ! -d "$runs/${run%-*}" ] && holds "$each/old" "$@" || continue
  printf 'earlier %s\n' "$each"
  exit 1
done
mkdir -m 0700 -- "${staging##*/}" && cd -P -- "${staging##*/}" || exit 1
[ "$(pwd -P)" = "$staging" ] && [ -O . ] || { echo "$folder changes meanwhile" >&2; exit 1; }
mkdir raw new leaving || exit 1
[ "$whole" = - ] || : >"$whole" || exit 1
for name; do : >"leaving/$name" || exit 1; done
df -Pk . | { read -r _; read -r _ _ _ free _; printf '%sfree %s' "$made" "$free"; }
"""
_EARLIER = re.compile(r"earlier (\.hotfleet-[A-Za-z0-9_.-]{1,200})", re.ASCII)
_LEFT = (
    "The device went down in the middle of an earlier comeback: what was there before lies in {path}/old. "
    "Put it back or remove {path}, by hand."
)


@dataclass(frozen=True, slots=True)
class Staging:
    """The staging of one seat. `is_whole`: the seat is a mount point, and its entries are swapped.
    `is_layered`: it lies on a layered file system."""

    seat: Seat
    path: str
    is_whole: bool
    is_layered: bool

    @property
    def names(self) -> tuple[str, ...]:
        """What leaves the folder, but for all of it when it is whole."""
        return () if self.is_whole else (posixpath.basename(self.seat.path), *self.seat.leaves_too)

    @property
    def places(self) -> tuple[str, ...]:
        """Absolute paths of what is renamed, or of the folder that holds it all."""
        folder = posixpath.dirname(self.path)
        return (folder,) if self.is_whole else tuple(f"{folder}/{name}" for name in self.names)


def plan_stagings(course: Course, facts: DeviceFacts, run_name: str) -> tuple[Staging, ...]:
    """Given a course, return the staging of each seat. Raise PlanRefused where a swap cannot be."""
    for path, other in permutations([seat.path for seat in course.seats], 2):
        if f"{path}/".startswith(f"{other}/"):
            raise PlanRefused(
                f"{path} lies in {other}: the swap of one would carry the other away",
                remedy=BY_HAND,
            )
    return tuple(_plan(seat, facts, run_name, number) for number, seat in enumerate(course.seats))


def _plan(seat: Seat, facts: DeviceFacts, run_name: str, number: int) -> Staging:
    path = posixpath.normpath(seat.path)
    if path != seat.path or not path.startswith("/") or path.count("/") < 2 or "\n" in path:
        raise PlanRefused(f"{seat.path!r} is no place that could be replaced")
    inner = [mount.point for mount in mounts_below(path, facts.mounts) if not mount.is_pseudo]
    inner = [point for point in inner if point != path]
    if inner:
        raise PlanRefused(
            f"{', '.join(inner)} is mounted inside of {path}: both cannot be replaced in one step",
            remedy=BY_HAND,
        )
    is_whole = any(mount.point == path for mount in facts.mounts)
    folder = path if is_whole else posixpath.dirname(path)
    is_layered = find_mount(folder, facts.mounts).is_layered
    return Staging(seat, f"{folder}/.{run_name}-{number}", is_whole, is_layered)


def make_stagings(runner: Runner, course: Course, stagings: Sequence[Staging], tell: Tell) -> None:
    """Make them; whoever calls this owes their removal already. A missing folder is made and told.

    Raise RestoreTargetRefused when one cannot be made or is too small."""
    if layered := [place for staging in stagings if staging.is_layered for place in staging.places]:
        check_layers(runner, layered, remedy=BY_HAND)
    for number, staging in enumerate(stagings):
        seat = staging.seat
        kind = "fresh" if course.is_fresh else "whole" if staging.is_whole else "-"
        owner = seat.folder_owner or "-"
        words = (staging.path, kind, posixpath.dirname(runner.directory), owner, *staging.names)
        said = runner.run(Command.of("/bin/sh", "-c", _MAKE, "hotfleet", *words), check=False)
        if earlier := _EARLIER.fullmatch(said.text.strip()):
            raise RestoreTargetRefused(_LEFT.format(path=f"{posixpath.dirname(staging.path)}/{earlier[1]}"))
        word, _, free = said.text.strip().rpartition("free ")
        if not said.is_success or word not in ("", "made ") or not (free.isascii() and free.isdigit()):
            raise RestoreTargetRefused(
                f"No folder could be made beside {seat.path}.", detail=said.tail or said.text
            )
        if word and not course.is_fresh:
            tell(Said(f"{posixpath.dirname(staging.path)} was missing: it was made."))
        # Several seats may lie on one file system: each is asked for all that is fetched into it.
        parts = {fetch.part.restic_id: fetch.part for fetch in course.fetches if fetch.seat == number}
        needed = sum(part.size_bytes for part in parts.values()) * course.factor
        if int(free) * 1024 < needed:
            raise RestoreTargetRefused(
                f"{needed:,} bytes are needed beside {seat.path}, and {int(free) * 1024:,} are free there.",
                remedy="Free some space there; what is there now is kept until the new data is proven.",
            )
