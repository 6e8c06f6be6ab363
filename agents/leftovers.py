"""What dead runs left on a device, found by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agents.commands import Command, to_text
from agents.runner.runner import Runner

_NAME = re.compile(r"^\.?hotfleet-(?P<console>[a-z0-9]+)-(?P<run>[a-z0-9]+)$")

# One level below each place, by name only; names end with NUL, since a path may hold a newline.
_FIND_SNAPSHOTS = """
for place in "$@"; do
  for found in "$place"/.hotfleet-*-*; do
    [ -d "$found" ] && [ ! -L "$found" ] && printf '%s\\0' "$found"
  done
done
exit 0
"""

# A directory of a run holds read-only snapshots; each is dropped by itself, the rest is an empty directory.
REMOVE_SNAPSHOTS = """
failed=0
for each in "$1"/* "$1"; do
  [ -d "$each" ] && [ ! -L "$each" ] || continue
  if [ "$(ls -di -- "$each" | cut -d' ' -f1)" = 256 ]; then
    btrfs subvolume delete --commit-after -- "$each" >/dev/null || failed=1
  elif [ "$each" = "$1" ]; then
    rmdir -- "$each" || failed=1
  fi
done
exit "$failed"
"""


class LeftoverKind(StrEnum):
    RUN = "run"
    SNAPSHOTS = "snapshots"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of another run. `is_foreign`: another console made it. `is_alive`: its run still works."""

    kind: LeftoverKind
    path: str
    console_id: str
    run_id: str
    is_foreign: bool
    is_alive: bool


def remove_snapshots_command(directory: str) -> Command:
    """Given a directory of a run's btrfs snapshots, return the idempotent command that drops them and it."""
    return Command.of("/bin/sh", "-c", REMOVE_SNAPSHOTS, "hotfleet", directory)


def find_leftovers(runner: Runner, places: Iterable[str]) -> list[Leftover]:
    """Given the places where plans put snapshots (the tops of btrfs subvolumes), return what other runs left.

    Never what belongs to the runner's own run. Runs one request and one command."""
    runs = runner.list_runs()
    found = [_make(runner, LeftoverKind.RUN, path, alive) for alive, path in runs]
    alive_names = {path.rpartition("/")[2] for alive, path in runs if alive}
    listed = runner.run(Command.of("/bin/sh", "-c", _FIND_SNAPSHOTS, "hotfleet", *sorted(set(places))))
    for path in to_text(listed.stdout).split("\0"):
        name = path.rpartition("/")[2].removeprefix(".")
        if path and name != runner.name:
            found.append(_make(runner, LeftoverKind.SNAPSHOTS, path, name in alive_names))
    return [leftover for leftover in found if leftover is not None]


def clean_leftovers(runner: Runner, leftovers: Sequence[Leftover]) -> list[tuple[Leftover, str]]:
    """Given leftovers, remove one by one what dead runs of this console left: journals first, then snapshots.

    Return those that stay, each with the reason: foreign, alive, or the error. Never raises for a single one,
    but raises DeviceHealed or ConnectionLost when the runner itself is over."""
    stays: list[tuple[Leftover, str]] = []
    for leftover in sorted(leftovers, key=lambda each: each.kind is LeftoverKind.SNAPSHOTS):
        reason = _clean(runner, leftover)
        if reason is not None:
            stays.append((leftover, reason))
    return stays


def _clean(runner: Runner, leftover: Leftover) -> str | None:
    if leftover.is_foreign:
        return "another console made it"
    if leftover.is_alive:
        return "its run is alive"
    if leftover.kind is LeftoverKind.RUN:
        return None if runner.heal_run(leftover.path) else "an undo step of its journal failed"
    result = runner.run(remove_snapshots_command(leftover.path), timeout_s=120, check=False)
    return None if result.is_success else result.tail


def _make(runner: Runner, kind: LeftoverKind, path: str, is_alive: bool) -> Leftover | None:
    match = _NAME.match(path.rpartition("/")[2])
    if match is None:  # not a name of ours, whatever it is
        return None
    console = match["console"]
    return Leftover(kind, path, console, match["run"], console != runner.console_id, is_alive)
