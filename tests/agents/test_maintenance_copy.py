"""Second copies with the real restic: same data, other keys, nothing twice; cut off, they go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from agents.commands import Secret
from agents.errors import Cancelled, ResticFailed
from agents.maintaining.copying import copy_snapshots, named_as_source
from agents.restic.binary import Binary
from agents.restic.repository import Repository, create, open_repository
from tests.agents.gateway_ground import PASSWORD, RECOVERY, _template, binary
from tests.agents.maintenance_ground import Ground, Patient, flip, make_ground

__all__ = ["_template", "binary"]
OTHER = Secret("0123456789abcdef" * 4)


@dataclass
class Pair:
    ground: Ground
    source: Repository
    target: Repository
    target_path: Path

    def copy(self, *ids: str, control: Patient | None = None) -> dict[str, str]:
        done: dict[str, str] = {}
        for each in copy_snapshots(
            self.source, self.target, ids, tell=self.ground.told.append, control=control or Patient()
        ):
            done |= each
        return done


@pytest.fixture
def pair(_template: Path, binary: Binary, tmp_path: Path) -> Iterator[Pair]:
    shutil.copytree(_template, tmp_path / "repository")
    ground = make_ground(tmp_path / "repository", binary, tmp_path / "source")
    with ExitStack() as stack:
        source = stack.enter_context(open_repository(ground.place.path, PASSWORD, binary))
        like = stack.enter_context(named_as_source(source))
        create(tmp_path / "other", OTHER, RECOVERY, binary, like)
        target = stack.enter_context(open_repository(tmp_path / "other", OTHER, binary))
        yield Pair(ground, source, target, tmp_path / "other")


def size_of(path: Path) -> int:
    return sum(each.stat().st_size for each in (path / "data").glob("*/*"))


def test_a_copy_holds_the_same_under_other_keys_and_nothing_twice(pair: Pair, tmp_path: Path) -> None:
    ground = pair.ground
    done = pair.copy(ground.first, ground.both)
    assert set(done) == {ground.first, ground.both} and not set(done.values()) & ground.ids
    folder = str(tmp_path / "source")
    assert b"".join(pair.target.dump_file(done[ground.both], f"{folder}/a")) == Path(folder, "a").read_bytes()
    assert size_of(pair.target_path) < 510_000  # a is in both, once
    again = pair.copy(ground.first, ground.both, ground.last)
    assert again.items() > done.items() and len(pair.target.list_snapshots()) == 3
    pair.target.check(read_data=True)
    # The same pieces: what comes to the copy by another way is found again.
    assert abs(size_of(pair.target_path) - size_of(ground.place.path)) < 5_000


def test_the_passwords_are_on_no_command_line_and_in_no_file_afterwards(pair: Pair) -> None:
    with named_as_source(pair.source) as variables:
        file = Path(str(variables["RESTIC_FROM_PASSWORD_FILE"]))
        assert file.stat().st_mode & 0o077 == 0 and file.read_text() == pair.source.password.reveal()
        assert PASSWORD.reveal() not in file.read_text()
    assert not file.exists()


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.full), 3])
def test_a_copy_that_was_killed_goes_on(pair: Pair, after: int) -> None:
    with pytest.raises(Cancelled):
        pair.copy(*sorted(pair.ground.ids), control=Patient(stops_after=after))
    pair.target.unlock()
    pair.source.unlock()
    assert len(pair.copy(*sorted(pair.ground.ids))) == 3
    pair.target.check(read_data=True)


def test_damaged_data_is_not_copied(pair: Pair) -> None:
    flip(min(pair.ground.packs_of_files(), key=lambda each: each.stat().st_size))  # c is in the last alone
    assert len(pair.copy(pair.ground.first, pair.ground.both)) == 2
    with pytest.raises(ResticFailed):
        pair.copy(pair.ground.last)
    assert len(pair.target.list_snapshots()) == 2
    pair.target.unlock()
    pair.target.check(read_data=True)
