"""An application that runs (or could run) on a device, as its plug-in found it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing that the application said about itself."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of an application.

    `name` is stable on its device and stands in policies ("15/main"); `places` are the real directories or
    files that hold its data, all of them; `service` is the unit that stops and starts it, "" when nobody
    knows; `problems` are sentences about what could not be asked, each with its remedy."""

    application: str
    name: str
    label: str
    version: str
    places: tuple[str, ...]
    service: str
    is_running: bool
    details: tuple[Detail, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """How the catalogue names it, "postgresql:15/main"."""
        return f"{self.application}:{self.name}"

    def detail(self, name: str) -> str:
        """Return what the application said, "" when it said nothing of this name."""
        return next((each.value for each in self.details if each.name == name), "")
