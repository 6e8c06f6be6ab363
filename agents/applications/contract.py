"""What every application plug-in is: it finds its instances, says which methods it offers, and how each
goes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import ClassVar

from agents.applications.recipes import Ground, Offer, Patience, Quiesce, Recipe
from agents.applications.services import stop_around, watch_standing
from agents.commands import Command
from agents.errors import PlanRefused
from agents.events import Consistency
from agents.facts import DeviceFacts, Instance


class Application(ABC):
    """One application. A file of this package holds one; found by scanning the package."""

    name: ClassVar[str]
    label: ClassVar[str]

    @abstractmethod
    def look(self, facts: DeviceFacts) -> Command | None:
        """Given facts, return the command that asks the device about every instance, None when nothing hints
        at one. It runs as root, ends within 20 s, changes nothing, and prints NUL-separated fields."""

    def look_for(self, facts: DeviceFacts, names: Collection[str]) -> Command | None:
        """Given facts and the names of instances that a policy asks for, return the command that asks about
        them. Raise PlanRefused when a name cannot be one.

        For an application whose instances are not all found by looking (a file); `look` is enough for
        others."""
        return self.look(facts)

    @abstractmethod
    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        """Given what `look` printed, return the instances. Raise ProtocolBroken when it cannot be
        understood."""

    def describe(self, name: str, command: str) -> Instance | None:
        """Given the name and the command that a policy says, return the instance that it describes by itself.

        Return None when instances of this application are found on the device. Raise PlanRefused when the
        policy says nonsense."""
        return None

    @abstractmethod
    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        """Given an instance and the file systems below it, return the hot methods that work now, best
        first."""

    @abstractmethod
    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        """Given one of the methods that `offers` returned, return how it goes. Raise PlanRefused when the
        method is not one of this application."""

    def work(self, earlier: Instance, later: Instance) -> Mapping[str, float]:
        """Given an instance as two looks saw it, return what it did in between: the names are those of
        `applications.work`. Nothing where the application does not tell, or nobody can know."""
        return {}

    def cold(self, instance: Instance, facts: DeviceFacts) -> Recipe:
        """Return how a cold backup goes: the service is stopped around the snapshot (or the copy) of its
        places.

        A service that does not run is not stopped and not started, only watched. Raise PlanRefused when
        nobody knows how to stop it, or where all of its files lie."""
        if not instance.places:
            raise PlanRefused(
                f"nobody knows where all files of {instance.label} lie: {' '.join(instance.problems)}",
                remedy="Mend what keeps it from being asked, then back it up again.",
            )
        if instance.is_running and not instance.service:
            raise PlanRefused(
                f"{instance.label} runs, and no service is known that stops it",
                remedy="Name the service in the policy, or back it up hot.",
            )
        quiesce = _keep_still(instance)
        notes = tuple(problem.rstrip(".") for problem in instance.problems)
        if instance.is_running:
            # The manuals of all of them call the files of a server that was shut down a backup.
            consistency = Consistency.APPLICATION
        else:
            consistency = Consistency.CRASH
            notes = (
                *notes,
                f"nobody saw how {instance.label} ended: a crash leaves its files as a power cut",
            )
        return Recipe("cold", consistency, paths=instance.places, quiesce=quiesce, notes=notes)


def _keep_still(instance: Instance) -> Quiesce:
    try:
        if instance.is_running:
            return stop_around((instance.service,))
        return watch_standing(instance.label, instance.service, (), instance.places)
    except ValueError as error:
        raise PlanRefused(
            f"{instance.label}: {error}", remedy="Name the service in the policy, or back it up hot."
        ) from error
