"""What the applications of a run did beside it, by their own counts: part of the impact receipt."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from agents.applications import Application, applications, read_instances
from agents.applications.work import LEAST_S
from agents.errors import CommandFailed, ProtocolBroken
from agents.events import Felt, Level, Said, Tell
from agents.facts import DeviceFacts, Instance, RunsCommands
from agents.plan import Plan


class Served:
    """The counts of a run's applications. Made when they were first looked at.

    `known` are these instances as the backup before saw them: what they did since is what is usual. Only what
    is copied hot is counted: the others stood still, or were not touched."""

    def __init__(self, facts: DeviceFacts, plan: Plan, known: Sequence[Instance]) -> None:
        self._facts = facts
        self._known = {instance.key: instance for instance in known}
        self._began = time.monotonic()
        self._wanted = [
            (source.request.application, source.request.instance)
            for source in plan.sources
            if source.request.application
            and not (source.quiesce is not None and source.quiesce.is_stop)
            and type(applications()[source.request.application]).work is not Application.work
        ]

    def tell(self, runner: RunsCommands, tell: Tell) -> None:
        """Look once more and tell what was counted. A run of few seconds is not measured: nothing would be
        learned. What cannot be counted is a warning, since the data is safe."""
        if not self._wanted or time.monotonic() - self._began < LEAST_S:
            return
        try:
            later = read_instances(runner, self._facts, {name for name, _ in self._wanted}, self._wanted)
        except (CommandFailed, ProtocolBroken) as error:
            tell(Said(f"What the applications did meanwhile is not known: {error.message}.", Level.WARNING))
            return
        for name, instance in self._wanted:
            first, last = self._facts.instance(name, instance), later.instance(name, instance)
            if first is not None and last is not None:
                self._tell_one(applications()[name], first, last, tell)

    def _tell_one(self, application: Application, first: Instance, last: Instance, tell: Tell) -> None:
        known = self._known.get(first.key)
        usual: Mapping[str, float] = application.work(known, first) if known is not None else {}
        for name, value in application.work(first, last).items():
            tell(Felt(name, usual.get(name), value, None, subject=first.label))
