"""Who stops and starts an instance around a swap: services, or the application's own program.

A keeper is shell that defines, for the directory $hold of this run:
  keeper_note   writes what runs into $hold/ran and what is to run into $hold/names, once
  keeper_stop   stops all of it, and succeeds when it stands
  keeper_start  given one of the two files, starts what it names, and succeeds when that runs
  keeper_runs   succeeds while what is to run runs
Each may be called again after it was killed anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agents.applications.services import is_service_name
from agents.commands import Command, join


@dataclass(frozen=True, slots=True)
class Keeper:
    """`label` is how sentences name it, `functions` the shell, `units` those that systemd's journal knows."""

    label: str
    functions: str
    units: tuple[str, ...] = ()


@cache
def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text()


def keep_services(services: Sequence[str]) -> Keeper:
    """Given the names of services, return what stops them in this order and starts them in the other.

    Raise ValueError for what cannot be the name of a service."""
    for name in services:
        if not is_service_name(name):
            raise ValueError(f"not the name of a service: {name!r}")
    names = f"keeper_names() {{ printf '%s\\n' {join(services)}; }}"
    functions = f"{_read('services.sh')}\n{_read('keeping.sh')}\n{names}"
    return Keeper(", ".join(services), functions, tuple(services))


def look_command(keeper: Keeper) -> Command:
    """Given a keeper, return the command that fails with a sentence when nobody knows one of its services."""
    return Command.of("/bin/sh", "-c", f"{keeper.functions}\n{_LOOK}", "hotfleet", *keeper.units)


_LOOK = """
set -u
hold='' why=''
for name; do service_look "$name" || { printf '%s: %s\\n' "$name" "$why"; exit 1; }; done
"""

# For files that no service is known for: the swap itself sees whether somebody has them open.
NOBODY = Keeper(
    "nobody",
    """
keeper_note() { : >"$hold/ran" && : >"$hold/names"; }
keeper_stop() { :; }
keeper_start() { :; }
keeper_runs() { :; }
""",
)
