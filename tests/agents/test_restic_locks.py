"""A lock that a killed restic of the console left must not stop the backups that follow."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from agents.repositories import RepositoryPlace, open_place
from agents.restic.binary import Binary
from tests.agents.gateway_ground import PASSWORD, _template, binary, repository_path

__all__ = ["_template", "binary", "repository_path"]


def leave_exclusive_lock(path: Path, binary: Binary) -> None:
    """Kill a restic that holds the repository for itself, as the adoption of a cut-off run does."""
    environment = {"RESTIC_PASSWORD": PASSWORD.reveal()}
    while not any(len(name) == 64 for name in os.listdir(path / "locks")):
        restic = subprocess.Popen(
            [binary.path, "--no-cache", "-r", path, "check"], env=environment, stdout=subprocess.DEVNULL
        )
        while restic.poll() is None and not any(len(name) == 64 for name in os.listdir(path / "locks")):
            pass
        restic.kill()
        restic.wait()


def test_the_lock_of_a_killed_adoption_does_not_stop_the_next_one(
    repository_path: Path, binary: Binary
) -> None:
    place = RepositoryPlace(repository_path, repository_path.with_name("journals"), PASSWORD)
    place.journals.mkdir()
    journal = place.journals / f"{'a' * 32}.jsonl"
    journal.write_text(json.dumps({"kind": "data", "name": "0" * 64, "size": 1}) + "\n")
    leave_exclusive_lock(repository_path, binary)
    with open_place(place, binary, lambda event: None):
        assert not journal.exists()
        assert [name for name in os.listdir(repository_path / "locks") if len(name) == 64] == []
