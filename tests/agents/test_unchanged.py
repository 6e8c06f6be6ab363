"""Which sources a proof of the file system is enough for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.applications import Quiesce
from agents.applications.services import stop_around
from agents.commands import Command, Result, Secret
from agents.plan import PlannedSource, SourceRequest, make_plan
from agents.repositories import RepositoryPlace
from agents.snapshots.contract import Proof, Taken
from agents.unchanged import KnownPoint, find_unchanged, proof_of
from tests.agents.facts.samples import make_facts

FACTS = make_facts(paths=("/data/a",))
RECORD = "\tUUID:\t\t\t6b6d8c3e-9b5c-43c7-a6c4-94586f953366\n\tGeneration:\t\t7\n"


class Device:
    """Answers as a btrfs on which nothing changes."""

    name = "hotfleet-c-r"

    def run(self, command: Command, *, timeout_s: float = 60.0, check: bool = True) -> Result:
        return Result(command, 0, RECORD.encode() + b"\0", b"")

    def owe(self, key: str, undo: Command, *, within_s: float | None = None) -> None:
        raise AssertionError("nothing is made")

    def settle(self, key: str) -> None:
        raise AssertionError("nothing is made")


def plan() -> PlannedSource:
    (planned,) = make_plan(FACTS, [SourceRequest("/data/a")]).sources
    return planned


def taken(source: PlannedSource) -> Taken:
    proof = Proof("/data/a", "6b6d8c3e-9b5c-43c7-a6c4-94586f953366:7")
    return Taken("btrfs", source.consistency, (), (), (proof,))


def known(source: PlannedSource, proof: str) -> KnownPoint:
    return KnownPoint(source.key, proof, "1" * 64, source.method, source.consistency, 1, 1)


@pytest.fixture
def place(tmp_path: Path) -> RepositoryPlace:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / ("1" * 64)).touch()
    return RepositoryPlace(tmp_path, tmp_path, Secret(""))


def test_files_that_nobody_holds_are_proven_by_their_file_system(place: RepositoryPlace) -> None:
    source = plan()
    proof = proof_of(source, [taken(source)])
    assert proof
    assert list(find_unchanged(Device(), FACTS, [source], [known(source, proof)], place)) == [source.key]


@pytest.mark.parametrize("quiesce", [Quiesce("one", "lock", "unlock", "unlock"), stop_around(["nginx"])])
def test_what_an_application_has_in_memory_is_in_no_proof(place: RepositoryPlace, quiesce: Quiesce) -> None:
    """It is written when the application is held or stopped, so that must be done each time."""
    free = plan()
    source = replace(free, quiesce=quiesce)
    assert proof_of(source, [taken(source)]) == ""
    earlier = known(free, proof_of(free, [taken(free)]))
    assert not find_unchanged(Device(), FACTS, [source], [earlier], place)
