"""Stopping services around a cold backup. What did not run before is neither stopped nor started.

A service is a systemd unit, elsewhere the name of an init script; `container:<name>` is a Docker container.
The shell of it is `services.sh`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from agents.applications.recipes import Quiesce
from agents.commands import join

_LONGEST_NAME = 256


@cache
def _functions() -> str:
    return Path(__file__).with_name("services.sh").read_text()


def stop_around(services: Sequence[str]) -> Quiesce:
    """Given the names of services, return what stops them in this order and starts them again, last first.

    Raise ValueError for a name that holds a blank, a slash or a pattern, or begins with a dash: no service
    has one."""
    for name in services:
        if not is_service_name(name):
            raise ValueError(f"not the name of a service: {name!r}")
    return Quiesce(
        label=", ".join(services),
        hold=f"{_functions()}\nservices_stop {join(services)}",
        release="services_start",
        undo=f"{_functions()}\nservices_undo",
        is_stop=True,
    )


def is_service_name(name: str) -> bool:
    """Given the name of a service, or of a container behind "container:", return whether it can be one.

    A pattern is none: it would stop all units that it matches, and start only those that systemd still
    remembers."""
    name = name.removeprefix("container:")
    is_plain = name.isprintable() and not any(letter.isspace() or letter in "/*?[" for letter in name)
    return 0 < len(name) <= _LONGEST_NAME and is_plain and name[0] not in "-."
