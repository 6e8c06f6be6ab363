"""What a policy asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Mode = Literal["hot", "cold"]
Fallback = Literal["fail", "accept-live", "wait"]


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """A source as the policy says it: files at `path`, or an `instance` of an `application`.

    `excludes` are patterns of restic. `method` "" is the best that the application offers. `services` are
    stopped for a cold backup of files (an application knows its own). `command` is a line of shell for the
    application "command", whose `instance` names the stream. `if_hot_impossible`: fail, accept less (crash
    consistency, or live files), or wait for the cold window. Sources of one `group` are held still
    together. One that `is_optional` may be missing on the device; one that `is_shared` belongs to a service
    that may run on another device now. Up to `accepted_problems` files that could
    not be read, or changed while they were, leave its restore point complete."""

    path: str = ""
    excludes: tuple[str, ...] = ()
    mode: Mode = "hot"
    if_hot_impossible: Fallback = "fail"
    application: str = ""
    instance: str = ""
    method: str = ""
    command: str = ""
    services: tuple[str, ...] = ()
    group: str = ""
    longest_freeze_ms: int = 10_000
    longest_downtime_s: int = 120
    is_optional: bool = False
    is_shared: bool = False
    accepted_problems: int = 0

    @property
    def key(self) -> str:
        """How the catalogue names the source: its path, or "postgresql:15/main"."""
        return f"{self.application}:{self.instance}" if self.application else self.path
