"""What dead runs left on a device, found by name and removed one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from agents import scratch
from agents.commands import Command
from agents.events import Level, Said
from agents.facts import DeviceFacts
from agents.facts.wire import split_fields
from agents.restoring import staging
from agents.returning import healing
from agents.runner import Runner
from agents.snapshots import providers
from agents.wal.words import STREAM

_NAME = re.compile(r"^hotfleet-(?P<console>[a-z0-9]+)-(?P<run>[a-z0-9]+)$")


_SCRATCH = "scratch"
_STAGING = "staging"
_COMEBACK = "comeback"
# They replaced what was there, and put it back.
_FINDERS = {_STAGING: staging.FIND, _COMEBACK: healing.FIND}
# It may hold a large tree.
_REMOVAL_S = 6 * 3600.0


class LeftoverKind(StrEnum):
    RUN = "run"
    SNAPSHOTS = "snapshots"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of another run. `is_foreign`: another console made it. `is_alive`: its run still works.

    `maker` is the provider that made it, or "scratch", "staging" or "comeback"; "" for a run's directory."""

    kind: LeftoverKind
    maker: str
    path: str
    console_id: str
    run_id: str
    is_foreign: bool
    is_alive: bool


def find_leftovers(runner: Runner, facts: DeviceFacts) -> list[Leftover]:
    """Given a runner and facts, return what other runs left: their directories, and what each provider would
    have made. Runs two requests, and one command a maker."""
    runs = runner.list_runs()
    found = [_make(runner, "", path.rpartition("/")[2], path, is_alive) for is_alive, path in runs]
    made: list[tuple[str, str, str]] = []
    finders = {name: provider.find_leftovers(facts) for name, provider in providers().items()}
    for maker, command in [*finders.items(), (_SCRATCH, scratch.FIND), *_FINDERS.items()]:
        if command is None:
            continue
        made += [(maker, name, place) for name, place in split_fields(runner.run(command).stdout, 2)]
    # Asked again: on the console's own machine a drill, or a backup beside it, may have begun since.
    alive = {path.rpartition("/")[2] for is_alive, path in [*runs, *runner.list_runs()] if is_alive}
    found += [_make(runner, maker, name, place, name in alive) for maker, name, place in made]
    return [each for each in found if each is not None]


def heal_restores(runner: Runner) -> None:
    """Put back or end, and remove, what restores and comebacks of this console left that died with the device
    (a power cut: then no journal in memory is left that does it). Tell what stays. Runs one request and two
    commands."""
    pairs = [
        (maker, name, place)
        for maker, command in _FINDERS.items()
        for name, place in split_fields(runner.run(command).stdout, 2)
    ]
    # Asked afterwards: what a run made that began in between is not a dead one's.
    runs = {path.rpartition("/")[2] for _, path in runner.list_runs()}
    found = [_make(runner, maker, name, place, name in runs) for maker, name, place in pairs]
    stays = clean_leftovers(runner, [each for each in found if each is not None and not each.is_foreign])
    for leftover, reason in stays:
        text = f"{leftover.path} of an earlier restore cannot be removed yet: {reason}."
        runner.tell(Said(text, Level.WARNING))


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
    command = _remove_command(leftover)
    timeout_s = _REMOVAL_S if leftover.maker in _FINDERS else 120.0
    result = runner.run(command, timeout_s=timeout_s, check=False)
    if leftover.maker == _COMEBACK:
        healing.tell_healed(result.text, runner.tell)
    return None if result.is_success else result.tail


def _remove_command(leftover: Leftover) -> Command:
    if leftover.maker == _SCRATCH:
        return scratch.remove_command(leftover.path)
    if leftover.maker == _STAGING:
        return staging.undo_command(leftover.path)
    if leftover.maker == _COMEBACK:
        return healing.heal_command(leftover.path)
    return providers()[leftover.maker].remove_leftover(leftover.path)


def _make(runner: Runner, maker: str, name: str, path: str, is_alive: bool) -> Leftover | None:
    match = _NAME.match(name)
    if match is None or name == runner.name:  # not a name of ours, or this very run
        return None
    kind = LeftoverKind.SNAPSHOTS if maker else LeftoverKind.RUN
    console = match["console"]
    is_stream = console.startswith(f"{runner.console_id}{STREAM}")
    if is_stream and is_alive:  # it works beside all other runs
        return None
    is_foreign = console != runner.console_id and not is_stream
    return Leftover(kind, maker, path, console, match["run"], is_foreign, is_alive)
