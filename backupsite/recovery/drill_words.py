"""How drills are said on pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from backupsite.fleet.models import Device
from backupsite.policies.naming import name_source
from backupsite.recovery.drill_models import Drill
from backupsite.recovery.folders import decode_path
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.words import ShownPoint
from backupsite.runs.models import Run
from backupsite.web.formatting import format_duration
from backupsite.web.status import Status
from backupsite.web.visible import make_visible

RESULTS = {
    Drill.PASSED: Status("Passed", "good", "good"),
    Drill.FAILED: Status("Failed", "bad", "failed"),
    Drill.IMPOSSIBLE: Status("Could not be done", "warn", "warn"),
}
CHECK_PASSED, CHECK_FAILED = Status("Passed", "good", "good"), Status("Failed", "bad", "failed")
# The names of checks that are not simply words. Those of tools ("pg_amcheck") stay as they are.
CHECKS = {
    "restore": "Restored and read again",
    "manifest": "Everything is there",
    "hashes": "Files as in the repository",
    "files": "Some files read",
    "read": "Read",
    "start": "The application starts",
}


@dataclass(frozen=True)
class ShownCheck:
    """One line of the evidence. `said` is text of a tool: escape it."""

    name: str
    status: Status
    said: str
    seconds: float


@dataclass(frozen=True)
class ShownHash:
    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ShownDrill:
    """A drill with its words, for lists and its page."""

    drill: Drill

    @property
    def status(self) -> Status:
        return RESULTS[self.drill.result]

    @property
    def name(self) -> str:
        return name_source(self.drill.source)

    @property
    def is_done(self) -> bool:
        """Whether it says anything about the data."""
        return self.drill.result != Drill.IMPOSSIBLE

    @property
    def is_measured(self) -> bool:
        """Whether its time is the time that a recovery takes: everything came back and worked."""
        return self.drill.result == Drill.PASSED and not self.drill.is_sample

    @property
    def took(self) -> timedelta:
        return timedelta(seconds=self.drill.total_s)

    @property
    def is_late(self) -> bool:
        return self.is_measured and self.drill.rto is not None and self.took > self.drill.rto

    @property
    def target(self) -> Status | None:
        """The time against the target of the policy; None without a target, or when nothing was measured."""
        if self.drill.rto is None or not self.is_measured:
            return None
        words = format_duration(self.drill.rto)
        if self.is_late:
            return Status(f"Longer than the RTO of {words}", "bad", "failed")
        return Status(f"Within the RTO of {words}", "good", "good")

    @property
    def checks(self) -> list[ShownCheck]:
        return [make_check(stored) for stored in self.drill.checks]

    @property
    def failed_count(self) -> int:
        return sum(check.status is CHECK_FAILED for check in self.checks)

    @property
    def hashes(self) -> list[ShownHash]:
        return [ShownHash(decode_path(path), size, digest) for path, size, digest in self.drill.hashes]

    @property
    def moment(self) -> str:
        return f"{make_visible(self.drill.device.name)}, {self.name}"


def find_drilled(run: Run) -> ShownPoint | None:
    """Given a run that drills, return one of its restore points; None when they are gone. Runs one query."""
    point = RestorePoint.objects.filter(pk__in=run.request.get("points", []), device=run.device).first()
    return ShownPoint(point) if point is not None else None


def find_last_drill(device: Device) -> ShownDrill | None:
    """Given a device, return its newest drill that came to a result. Runs one query."""
    drills = Drill.objects.whole().filter(device=device)
    newest = drills.defer("checks", "hashes", "notes").first()
    return ShownDrill(newest) if newest is not None else None


def make_check(stored: list[Any]) -> ShownCheck:
    """Given a check as it is stored, return it with its words."""
    name, is_passed, said, seconds = stored
    words = CHECKS.get(name) or (name if "_" in name else name[:1].upper() + name[1:])
    status = CHECK_PASSED if is_passed is True else CHECK_FAILED
    return ShownCheck(make_visible(words), status, said, float(seconds))
