"""Drills as the tests drive them: on the console's own machine, real restic, real servers."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
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
from agents.restic.repository import open_repository
from agents.session import Session
from tests.live.flows import Console

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
