"""What dead runs left on a device, found by name and removed one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from agents.commands import to_text
from agents.facts import DeviceFacts
from agents.runner import Runner
from agents.snapshots import providers
from agents.snapshots.traces import find_command, remove_command

_NAME = re.compile(r"^\.?hotfleet-(?P<console>[a-z0-9]+)-(?P<run>[a-z0-9]+)$")


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


def find_leftovers(runner: Runner, facts: DeviceFacts) -> list[Leftover]:
    """Given a runner and facts, return what other runs left: their directories, and snapshots where a plan
    would put them. Runs one request and one command."""
    runs = runner.list_runs()
    found = [_make(runner, LeftoverKind.RUN, path, is_alive) for is_alive, path in runs]
    alive_names = {path.rpartition("/")[2] for is_alive, path in runs if is_alive}
    places = sorted({place for each in providers().values() for place in each.leftover_places(facts)})
    if places:
        listed = runner.run(find_command(tuple(places)))
        for path in to_text(listed.stdout).split("\0"):
            name = path.rpartition("/")[2].removeprefix(".")
            found.append(_make(runner, LeftoverKind.SNAPSHOTS, path, name in alive_names))
    return [each for each in found if each is not None]


def clean_leftovers(runner: Runner, leftovers: Sequence[Leftover]) -> list[tuple[Leftover, str]]:
    """Given leftovers, remove one by one what dead runs of this console left: journals first, then snapshots.

    Return those that stay, each with the reason: foreign, alive, or the error. A single one never raises;
    DeviceHealed and ConnectionLost mean that the runner itself is over."""
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
    result = runner.run(remove_command(leftover.path), timeout_s=120, check=False)
    return None if result.is_success else result.tail


def _make(runner: Runner, kind: LeftoverKind, path: str, is_alive: bool) -> Leftover | None:
    match = _NAME.match(path.rpartition("/")[2])
    if match is None or match[0].removeprefix(".") == runner.name:  # not a name of ours, or this very run
        return None
    console = match["console"]
    return Leftover(kind, path, console, match["run"], console != runner.console_id, is_alive)
