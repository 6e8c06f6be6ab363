"""The names under which snapshots lie on a device, so that they are found again whatever died."""

from __future__ import annotations

from agents.commands import Command

# What a backup never stores: the snapshots of any run of any console.
TRACE_PATTERN = ".hotfleet-*-*"

# One level below each place, by name only. NUL ends a word, since a path may hold a newline. A run that took
# more than one snapshot of a file system numbers its directories (".hotfleet-c-r-2").
_FIND = """
for place in "$@"; do
  for found in "$place"/.hotfleet-*-*; do
    # only root made ours: whoever else owns the place may fill it with such names
    [ -d "$found" ] && [ ! -L "$found" ] && [ -O "$found" ] || continue
    run=${found##*/.}
    case ${run#hotfleet-*-} in *-*) run=${run%-*} ;; esac
    printf '%s\\0%s\\0' "$run" "$found"
  done
done
"""

# The directory of a run holds snapshots: each goes by itself, then the empty directory. Nothing else does.
# Whoever owns the directory above may have put a link, or another directory, in its place: we go in first,
# look where we are, and touch only what lies here. A link would have us delete any subvolume of the device.
_REMOVE = """
failed=0
[ -e "$1" ] || [ -L "$1" ] || exit 0
[ ! -L "$1" ] && cd -P -- "$1" && [ "$(readlink /proc/self/cwd)" = "$1" ] || failed=1
[ "$failed" != 0 ] || [ "$(stat -c %u .)" = 0 ] && [ $((0$(stat -c %a .) & 022)) -eq 0 ] || failed=1
[ "$failed" = 0 ] || { echo "$1 is not the directory that the run made: somebody changed it" >&2; exit 1; }
for each in *; do
  [ -d "./$each" ] && [ ! -L "./$each" ] || continue
  [ "$(stat -c %i -- "./$each")" = 256 ] || continue
  btrfs subvolume delete --commit-after -- "./$each" >/dev/null || failed=1
done
cd /
rmdir -- "$1" || failed=1
exit "$failed"
"""


def find_command(places: tuple[str, ...]) -> Command:
    """Given directories, return the command that lists the traces of runs in them, each ended by NUL."""
    return Command.of("/bin/sh", "-c", _FIND, "hotfleet", *places)


def remove_command(directory: str) -> Command:
    """Given a run's directory of snapshots, return the idempotent command that drops them and it."""
    return Command.of("/bin/sh", "-c", _REMOVE, "hotfleet", directory)
