"""Repairs with the real restic: from the second copy all comes back; without one, what is whole stays."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.commands import Secret
from agents.gateway.target import Kind
from agents.maintaining.copying import copy_snapshots, named_as_source
from agents.maintaining.mending import Copied, mend, refill
from agents.maintaining.reading import damaged_of
from agents.repositories import RepositoryPlace
from agents.restic.binary import Binary
from agents.restic.repository import create, open_repository
from tests.agents.gateway_ground import PASSWORD, RECOVERY, _template, binary
from tests.agents.maintenance_ground import BEGAN_S, DAY_S, Ground, Patient, flip, make_ground, open_ground

__all__ = ["_template", "binary"]
OTHER = Secret("0123456789abcdef" * 4)


@pytest.fixture(scope="module")
def made(_template: Path, binary: Binary, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ground, Copied]:
    folder = tmp_path_factory.mktemp("mended")
    shutil.copytree(_template, folder / "repository")
    ground = make_ground(folder / "repository", binary, folder / "source")
    copy = folder / "other"
    with open_repository(ground.place.path, PASSWORD, binary) as source:
        with named_as_source(source) as like:
            create(copy, OTHER, RECOVERY, binary, like)
        with open_repository(copy, OTHER, binary) as target:
            [done] = copy_snapshots(
                source, target, sorted(ground.ids), tell=ground.told.append, control=Patient()
            )
    return ground, Copied(RepositoryPlace(copy, folder / "other.journals", OTHER), done)


@pytest.fixture
def ground(made: tuple[Ground, Copied], tmp_path: Path) -> Ground:
    first, _ = made
    shutil.copytree(first.place.path, tmp_path / "repository")
    return open_ground(tmp_path / "repository", first.binary, [first.first, first.both, first.last])


def packs(ground: Ground) -> list[Path]:
    return ground.packs_of_files()


def folders(ground: Ground) -> list[Path]:
    return [each for each in (ground.place.path / "data").glob("*/*") if each not in packs(ground)]


def indexes(ground: Ground) -> list[Path]:
    return list((ground.place.path / "index").iterdir())


def records(ground: Ground) -> list[Path]:
    return [ground.place.path / "snapshots" / ground.both]


def repair(ground: Ground, copied: Copied | None) -> dict[str, str]:
    found = ground.check()
    assert found.findings
    mend(ground.place, ground.binary, found.findings, tell=ground.told.append, control=Patient())
    if copied is None:
        return {}
    return refill(ground.place, ground.binary, copied, found.hurt, tell=ground.told.append, control=Patient())


@pytest.mark.parametrize(
    ("choose", "is_removed"),
    [
        (packs, False),
        (records, False),
        pytest.param(packs, True, marks=pytest.mark.full),
        pytest.param(folders, False, marks=pytest.mark.full),
        pytest.param(folders, True, marks=pytest.mark.full),
        pytest.param(indexes, False, marks=pytest.mark.full),
        pytest.param(indexes, True, marks=pytest.mark.full),
        pytest.param(records, True, marks=pytest.mark.full),
    ],
)
def test_all_comes_back_from_the_second_copy(
    ground: Ground, made: tuple[Ground, Copied], choose: Callable[[Ground], list[Path]], is_removed: bool
) -> None:
    for file in choose(ground):
        if is_removed:
            file.unlink()
        else:
            flip(file, 0.05)
    renamed = repair(ground, made[1])
    assert set(renamed) == ({ground.both} if choose is records else set())
    ids = frozenset(renamed.get(each, each) for each in ground.ids)
    outcome = ground.check(at=BEGAN_S + DAY_S, ids=ids)
    assert outcome.findings == () and outcome.hurt == {} and outcome.strays == ()
    with open_repository(ground.place.path, PASSWORD, ground.binary) as repository:
        repository.check(read_data=True)
        folder = made[0].place.path.with_name("source")
        for name in ("a", "b"):
            read = b"".join(repository.dump_file(renamed.get(ground.both, ground.both), f"{folder}/{name}"))
            assert read == (folder / name).read_bytes()


def test_without_a_second_copy_the_next_backup_heals_what_the_device_still_has(
    ground: Ground, made: tuple[Ground, Copied]
) -> None:
    smallest = min(packs(ground), key=lambda each: each.stat().st_size)  # c, of the last alone
    flip(smallest, 0.05)
    repair(ground, None)
    outcome = ground.check(at=BEGAN_S + DAY_S)
    assert set(outcome.hurt) == {ground.last} and not damaged_of(outcome.findings, Kind.DATA)
    assert [each.name for each in (ground.place.journals / "damaged").iterdir()]
    folder = made[0].place.path.with_name("source")
    environment = {"RESTIC_REPOSITORY": str(ground.place.path), "RESTIC_PASSWORD": RECOVERY.reveal()}
    words = [str(ground.binary.path), "--no-cache", "backup", "--quiet", "--host", "ground", "--"]
    backup = subprocess.run([*words, *(str(folder / name) for name in "bc")], env=environment, check=False)
    assert backup.returncode == 3  # restic says of each file that it stores it again
    known = ground.ids | {each.name for each in (ground.place.path / "snapshots").iterdir()}
    outcome = ground.check(at=BEGAN_S + 2 * DAY_S, ids=known)
    assert outcome.findings == () and outcome.hurt == {}
