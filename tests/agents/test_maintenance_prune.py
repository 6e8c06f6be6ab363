"""Removal of old data: by explicit ids alone, stopped anywhere, without room, beside another program."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.errors import Cancelled, RepositoryFull
from agents.events import Said
from agents.maintenance import PruneRequest, measure, prune
from agents.restic.binary import Binary
from agents.restic.outcomes import RepositoryLocked
from agents.restic.repository import open_repository
from tests.agents.gateway_ground import PASSWORD, RECOVERY, _template, binary
from tests.agents.maintenance_ground import Ground, Patient, make_ground, open_ground

__all__ = ["_template", "binary"]


@pytest.fixture(scope="module")
def made(_template: Path, binary: Binary, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("pruned")
    shutil.copytree(_template, folder / "repository")
    return make_ground(folder / "repository", binary, folder / "source")


@pytest.fixture
def ground(made: Ground, tmp_path: Path) -> Ground:
    return copy_ground(made, tmp_path / "repository")


def copy_ground(made: Ground, path: Path) -> Ground:
    shutil.copytree(made.place.path, path)
    return open_ground(path, made.binary, [made.first, made.both, made.last])


def remove(ground: Ground, *ids: str, control: Patient | None = None, moves_data: bool = True) -> int:
    request = PruneRequest(ground.place, ground.binary, ids, moves_data=moves_data)
    return prune(request, tell=ground.told.append, control=control or Patient())


def test_only_what_was_named_goes_and_its_space_comes_back(ground: Ground) -> None:
    before = measure(ground.place)
    given_back = remove(ground, ground.first, ground.both)
    assert 295_000 < given_back == before - measure(ground.place) < 310_000  # a; b is needed by the last
    outcome = ground.check(ids=frozenset({ground.last}))
    assert outcome.findings == () and outcome.strays == ()
    said = [each.text for each in ground.told if isinstance(each, Said)]
    assert f"The snapshot {ground.first} was removed from the repository." in said
    assert any(text.startswith("restic: total prune:") for text in said)


def test_what_is_gone_already_is_no_error_and_nothing_named_removes_nothing(ground: Ground) -> None:
    remove(ground, ground.first)
    assert remove(ground, ground.first) == 0
    assert remove(ground) == 0
    assert ground.check(ids=ground.ids - {ground.first}).findings == ()


def test_the_caller_learns_that_snapshots_are_gone_before_their_data_is(ground: Ground) -> None:
    sizes: list[int] = []
    request = PruneRequest(ground.place, ground.binary, [ground.first, ground.both])
    before = measure(ground.place)
    given = prune(
        request,
        tell=ground.told.append,
        control=Patient(),
        forgotten=lambda: sizes.append(measure(ground.place)),
    )
    assert sizes[0] > before - given  # the data is still there


@pytest.mark.parametrize("after", [3, *(pytest.param(after, marks=pytest.mark.full) for after in (2, 5, 8))])
def test_killed_anywhere_it_hurts_nothing_and_the_next_one_does_the_rest(ground: Ground, after: int) -> None:
    try:
        remove(ground, ground.first, ground.both, control=Patient(stops_after=after))
    except Cancelled:
        assert ground.check(ids=frozenset({ground.last})).findings == ()
    remove(ground, ground.first, ground.both)
    assert measure(ground.place) < 305_000
    assert ground.check(ids=frozenset({ground.last})).findings == ()
    assert not list((ground.place.path / "locks").iterdir())


@pytest.fixture
def small_disk(needs_root: None, tmp_path: Path) -> Iterator[Path]:
    point = tmp_path / "small"
    point.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=900k,nr_inodes=0", "hotfleet-small", str(point)], check=True
    )
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def test_on_a_full_disk_nothing_is_lost(made: Ground, small_disk: Path) -> None:
    ground = copy_ground(made, small_disk / "repository")
    space = os.statvfs(small_disk)
    (small_disk / "fill").write_bytes(b"x" * space.f_bavail * space.f_frsize)
    with pytest.raises(RepositoryFull):
        remove(ground, ground.first, ground.both)
    assert ground.check(ids=frozenset({ground.last})).findings == ()
    (small_disk / "fill").unlink()
    remove(ground, ground.first, ground.both)
    assert measure(ground.place) < 305_000


@pytest.mark.full
def test_another_program_that_works_there_is_not_disturbed(ground: Ground) -> None:
    environment = {"RESTIC_REPOSITORY": str(ground.place.path), "RESTIC_PASSWORD": RECOVERY.reveal()}
    words = [str(ground.binary.path), "--no-cache", "backup", "--quiet", "--stdin"]
    other = subprocess.Popen(words, env=environment, stdin=subprocess.PIPE)
    try:
        while not list((ground.place.path / "locks").iterdir()):
            assert other.poll() is None
        with pytest.raises(RepositoryLocked):  # after half a minute of asking again
            remove(ground, ground.first)
        with open_repository(ground.place.path, PASSWORD, ground.binary) as repository:
            assert {each.snapshot_id for each in repository.list_snapshots()} == ground.ids
    finally:
        other.kill()
        other.wait()
