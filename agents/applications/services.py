"""Stopping services around a cold backup. What did not run before is neither stopped nor started: whoever
starts it meanwhile is noticed.

A service is a systemd unit, elsewhere the name of an init script; `container:<name>` is a Docker container.
The shell of it is `services.sh`, and `standing.sh` for what stands before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from agents.applications.recipes import Quiesce
from agents.commands import join, quote
from agents.facts.databases import SERVERS

_LONGEST_NAME = 256
# As `standing.sh` looks for one: with blanks around.
_SERVERS = f" {' '.join(SERVERS)} "


@cache
def _functions(name: str = "services.sh") -> str:
    return Path(__file__).with_name(name).read_text()


def stop_around(services: Sequence[str]) -> Quiesce:
    """Given the names of services, return what stops them in this order and starts them again, last first.

    Raise ValueError for a name that holds a blank, a slash or a pattern, or begins with a dash: no service
    has one."""
    _refuse_strange(services)
    return Quiesce(
        label=", ".join(services),
        hold=f"{_functions()}\nservices_stop {join(services)}",
        release="services_start",
        undo=f"{_functions()}\nservices_undo",
        is_stop=True,
    )


def watch_standing(label: str, service: str, others: Sequence[str], places: Sequence[str]) -> Quiesce:
    """Given an instance that does not run, return what notices that it is started while its files are read.

    `service` is its own, "" when nobody knows it; `others` count when they stand at the beginning. A server
    that works in one of its places is noticed whoever started it. Raise ValueError as `stop_around` does."""
    names = tuple(dict.fromkeys((service, *others) if service else others))
    _refuse_strange(names)
    functions = f"{_functions()}\n{_functions('standing.sh')}"
    check = f"standing_check {quote(_SERVERS)} {join(places)}"
    return Quiesce(
        label=label,
        hold=f"{functions}\nstanding_begin {join((service, *names))} && {check}",
        release=check,
        undo=f"{functions}\n{check}",
        is_watch=True,
        waits=False,
    )


def _refuse_strange(names: Sequence[str]) -> None:
    for name in names:
        if not is_service_name(name):
            raise ValueError(f"not the name of a service: {name!r}")


def is_service_name(name: str) -> bool:
    """Given the name of a service, or of a container behind "container:", return whether it can be one.

    A pattern is none: it would stop all units that it matches, and start only those that systemd still
    remembers."""
    name = name.removeprefix("container:")
    is_plain = name.isprintable() and not any(letter.isspace() or letter in "/*?[" for letter in name)
    return 0 < len(name) <= _LONGEST_NAME and is_plain and name[0] not in "-."
