"""Applications: one file each, found by scanning this package."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import replace
from functools import cache

from agents.applications.contract import Application
from agents.applications.places import settle_places
from agents.applications.recipes import (
    DUMP,
    NOT_HELD,
    SNAPSHOT,
    STREAM,
    Ground,
    Offer,
    Patience,
    Quiesce,
    Recipe,
    Stream,
)
from agents.facts import DeviceFacts, Instance, RunsCommands
from agents.plugins import find_plugins

__all__ = [
    "DUMP",
    "NOT_HELD",
    "SNAPSHOT",
    "STREAM",
    "Application",
    "Ground",
    "Offer",
    "Patience",
    "Quiesce",
    "Recipe",
    "Stream",
    "applications",
    "read_instances",
]

_LOOK_TIMEOUT_S = 30.0


@cache
def applications() -> dict[str, Application]:
    """Return every application by its name."""
    return find_plugins(sys.modules[__name__], Application.__subclasses__)


def read_instances(
    runner: RunsCommands,
    facts: DeviceFacts,
    names: Collection[str] | None = None,
    wanted: Collection[tuple[str, str]] = (),
) -> DeviceFacts:
    """Given facts, return them with the instances of these applications (of all without `names`).

    `wanted` are the pairs of application and instance that a policy asks for, where it does.
    Runs one command for each application that something hints at, and one for their places. Raise
    ProtocolBroken when an answer cannot be understood, CommandFailed when the device did not answer."""
    found: list[Instance] = []
    for name, application in applications().items():
        if names is not None and name not in names:
            continue
        asked = tuple(dict.fromkeys(instance for each, instance in wanted if each == name))
        command = application.look_for(facts, asked) if asked else application.look(facts)
        if command is not None:
            said = runner.run(command, timeout_s=_LOOK_TIMEOUT_S)
            found += application.parse(said.stdout, facts)
    return replace(facts, instances=tuple(settle_places(runner, found, _LOOK_TIMEOUT_S)))
