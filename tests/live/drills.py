"""Drills as the tests drive them: on the console's own machine, real restic, real servers."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agents.applications.stored import Stored, StoredPart
from agents.applications.trials import Question
from agents.backup import BackupOutcome
from agents.drill import DrillRequest, drill
from agents.drilling.evidence import Check, Evidence
from agents.drilling.sampling import sample_points
from agents.flow import Control, Unstoppable
from agents.local import LocalSession
from agents.own_places import SCRATCH_PARENT
from agents.plan import SourceRequest
from agents.restic.repository import open_repository
from agents.session import Session
from tests.live.flows import Console
from tests.live.site import Enrolled

# Each method of each application, and everything that each must find, takes twenty minutes.
full_only = pytest.mark.full
IS_FULL = os.environ.get("HOTFLEET_CAMPAIGN") == "full"


class DeviceProver(Console):
    """A console that drills on its device, over SSH."""

    def drill(
        self, stored: Stored, *questions: Question, sample: int = 5, control: Control | None = None
    ) -> Evidence:
        request = DrillRequest(
            self.id,
            secrets.token_hex(16),
            self.place,
            self.binary,
            self.is_local,
            stored,
            questions=questions,
            sample=sample,
        )
        return drill(request, self.open_session, tell=self.tell, control=control or Unstoppable())

    def sample(self, stored: Stored) -> Evidence:
        return sample_points(self.place, self.binary, stored, tell=self.tell, control=Unstoppable())

    def store(self, folder: Path, application: str, method: str, *, instance: str = "") -> Stored:
        """Back a folder up as plain files, and call it what it may not be: a copy that somebody made."""
        (point,) = self.back_up(folder, fallback="accept-live").points
        part = StoredPart(point.restic_id, "", point.paths, point.size_bytes)
        return Stored(application, instance or str(folder), method, (part,), (str(folder),))

    def store_stream(self, file: Path, application: str, method: str) -> Stored:
        """Back a file up as if it were the only stream of an application."""
        (point,) = self.back_up(file, fallback="accept-live").points
        part = StoredPart(point.restic_id, file.name, point.paths, point.size_bytes)
        return Stored(application, "", method, (part,))

    def replace_stream(self, stored: Stored, name: str, content: bytes) -> Stored:
        """Return what was stored with another content of one stream, which is called as it was."""
        file = self.device.directory / "content"
        file.write_bytes(content)
        line = SourceRequest(application="command", instance=name, command=f"cat '{file}'")
        (point,) = self.back_up(line).points
        part = StoredPart(point.restic_id, name, point.paths, point.size_bytes)
        others = (each for each in stored.parts if each.part != name)
        return replace(stored, parts=(part, *others))

    def read(self, stored: Stored, name: str) -> bytes:
        """Return what a stream holds."""
        part = stored.part(name)
        with open_repository(self.place.path, self.place.password, self.binary) as repository:
            return b"".join(repository.dump_file(part.restic_id, part.paths[0]))


class Prover(DeviceProver):
    """A console that backs up its own machine and drills there."""

    is_local = True

    def open_session(self) -> Session:
        return LocalSession()


def stored_of(outcome: BackupOutcome, application: str, instance: str, *paths: Path) -> Stored:
    """Given what a backup of one instance made, return it as the catalogue would."""
    parts = [StoredPart(each.restic_id, each.part, each.paths, each.size_bytes) for each in outcome.points]
    (method,) = {each.method for each in outcome.points}
    return Stored(application, instance, method, tuple(parts), tuple(map(str, paths)))


def assert_proven(evidence: Evidence, *names: str) -> None:
    """Every check passed, and these were among them."""
    assert evidence.is_passed, say(evidence.failures)
    assert set(names) <= {check.name for check in evidence.checks}, say(evidence.checks)


def assert_refuted(evidence: Evidence, *names: str) -> str:
    """Exactly these checks failed; return what they said."""
    assert [check.name for check in evidence.failures] == list(names), say(evidence.checks)
    return "\n".join(check.said for check in evidence.failures)


def say(checks: Sequence[Check]) -> str:
    return "\n".join(f"{check.name}: {check.is_passed} {check.said}" for check in checks)


def drill_point(enrolled: Enrolled, point: str, state: str, *, timeout_s: float = 180) -> dict[str, object]:
    """Drill a restore point through a console until its run is in this state; return the evidence."""
    number = enrolled.site.do("ask_to_drill", point=point)
    run = enrolled.site.wait_for_state(number, state, timeout_s=timeout_s)
    (found,) = enrolled.site.rows("SELECT * FROM recovery_drill WHERE run_id = ?", run["id"])
    left = [path for path in Path(SCRATCH_PARENT).glob(f".hotfleet-{enrolled.id}*")]
    assert not left, "a drill leaves nothing behind"
    return dict(found)


def drill_state(enrolled: Enrolled, point: str) -> str:
    """Return what the catalogue says that drills proved."""
    (found,) = [each for each in enrolled.points() if each["id"] == point]
    return str(found["drill_state"])
