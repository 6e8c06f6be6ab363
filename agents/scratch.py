"""A directory on a disk of the device, for streams that must write a file before they can be read."""

from __future__ import annotations

from agents.commands import Command
from agents.errors import PlanRefused
from agents.own_places import SCRATCH_PARENT
from agents.removing import read_removing
from agents.runner import Runner

_KEY = "scratch"
# The parent belongs to root and is sticky: nobody else can take the directory's place once it is made.
_MAKE = """
set -eu
parent=$1 path=$2
set -- $(stat -c '%u %a' -- "$parent")
[ "$1" = 0 ] && [ $((0$2 & 01000)) -ne 0 ] || { echo "$parent is not root's alone and sticky" >&2; exit 1; }
mkdir -m 0700 -- "$path"
df -Pk -- "$path" | { read -r _; read -r _ _ _ free _; printf '%s' "$free"; }
"""
_REMOVE = (
    read_removing()
    + """
case $1 in "$2"/.hotfleet-*-*) ;; *) exit 1 ;; esac
case ${1#"$2"/} in */*) exit 1 ;; esac
! is_there "$1" || { cd -- "$2" && remove "${1##*/}"; }
"""
)
_FIND = """
for found in "$1"/.hotfleet-*-*; do
  # by a builtin: whoever fills the parent with such names must not keep us busy
  [ -d "$found" ] && [ ! -L "$found" ] && [ -O "$found" ] || continue
  printf '%s\\0%s\\0' "${found##*/.}" "$found"
done
"""
FIND = Command.of("/bin/sh", "-c", _FIND, "hotfleet", SCRATCH_PARENT)


def scratch_path(run_name: str) -> str:
    """Given the name of a run, return its directory."""
    return f"{SCRATCH_PARENT}/.{run_name}"


def remove_command(path: str) -> Command:
    """Given such a directory, return the idempotent command that removes it."""
    return Command.of("/bin/sh", "-c", _REMOVE, "hotfleet", path, SCRATCH_PARENT)


def make_scratch(runner: Runner, size_bytes: int) -> str:
    """Make the run's directory, owed first, and return its path. Raise PlanRefused when it is too small
    there, CommandFailed when it cannot be made."""
    path = scratch_path(runner.name)
    runner.owe(_KEY, remove_command(path))
    said = runner.run(Command.of("/bin/sh", "-c", _MAKE, "hotfleet", SCRATCH_PARENT, path))
    free = said.text.strip()
    if not free.isascii() or not free.isdigit() or int(free) * 1024 < size_bytes:
        runner.settle(_KEY)
        raise PlanRefused(
            f"{size_bytes:,} bytes are needed in {SCRATCH_PARENT} of the device, and fewer are free",
            remedy=f"Free some space in {SCRATCH_PARENT}, or choose a method that needs none.",
        )
    return path


def drop_scratch(runner: Runner) -> None:
    """Remove the directory and strike it from the journal."""
    runner.settle(_KEY)
