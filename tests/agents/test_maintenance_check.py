"""A check of a repository: what is damaged or missing is found, and which snapshots need it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agents.errors import Cancelled
from agents.gateway.target import Kind, Target
from agents.maintaining.hurt import DATA, FOLDERS, RECORD_DAMAGED, RECORD_MISSING, UNREADABLE
from agents.restic.binary import Binary
from agents.restic.repository import open_repository
from tests.agents.gateway_ground import PASSWORD, _template, binary
from tests.agents.maintenance_ground import BEGAN_S, DAY_S, Ground, Patient, flip, make_ground, open_ground

__all__ = ["_template", "binary"]


@pytest.fixture(scope="module")
def made(_template: Path, binary: Binary, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("maintained")
    shutil.copytree(_template, folder / "repository")
    return make_ground(folder / "repository", binary, folder / "source")


@pytest.fixture
def ground(made: Ground, tmp_path: Path) -> Ground:
    shutil.copytree(made.place.path, tmp_path / "repository")
    return open_ground(tmp_path / "repository", made.binary, [made.first, made.both, made.last])


def test_a_whole_repository_has_nothing_wrong(ground: Ground) -> None:
    outcome = ground.check()
    assert outcome.findings == () and outcome.hurt == {} and outcome.strays == ()
    reading = outcome.reading
    assert reading.is_whole and outcome.is_structure_checked
    assert reading.read_files == reading.files == len(ground.files()) - 1
    assert reading.unread_bytes == 0 and reading.ages[0] == reading.total_bytes


def test_what_is_new_is_read_at_once_and_the_rest_in_turns(ground: Ground, tmp_path: Path) -> None:
    ground.check()
    (tmp_path / "new").write_bytes(b"new" * 1000)
    with open_repository(ground.place.path, PASSWORD, ground.binary) as repository:
        stored = repository.store([str(tmp_path / "new")], host="ground", tags=["run=2"])
    known = ground.ids | {stored}
    outcome = ground.check(at=BEGAN_S + DAY_S, ids=known)
    assert outcome.reading.unread_bytes == 0
    assert outcome.reading.ages[0] > 0 and outcome.reading.ages[1] > 0
    for day in range(2, 31):
        outcome = ground.check(at=BEGAN_S + day * DAY_S, ids=known)
    assert sum(outcome.reading.ages[:30]) == outcome.reading.total_bytes


def test_a_pass_that_gave_way_goes_on_where_it_was(ground: Ground) -> None:
    first = ground.check(control=Patient(gives_way_after=3))
    assert not first.reading.is_whole and first.reading.read_files == 3
    assert first.reading.unread_bytes > 0 and not first.is_structure_checked
    second = ground.check()
    assert second.reading.is_whole and second.reading.unread_bytes == 0


def test_a_check_that_was_cancelled_keeps_what_it_read(ground: Ground) -> None:
    with pytest.raises(Cancelled):
        ground.check(control=Patient(stops_after=8))
    reading = ground.check(control=Patient(gives_way_after=0)).reading
    assert reading.read_files == 0 and 0 < reading.unread_bytes < reading.total_bytes


def test_a_pack_of_files_hurts_the_snapshots_that_need_it(ground: Ground) -> None:
    for pack in ground.packs_of_files():
        flip(pack)
    outcome = ground.check()
    assert {each.target for each in outcome.findings} == {
        Target(Kind.DATA, pack.name) for pack in ground.packs_of_files()
    }
    assert outcome.hurt == dict.fromkeys(ground.ids, DATA)


def test_a_pack_that_one_snapshot_needs_hurts_no_other(ground: Ground) -> None:
    flip(min(ground.packs_of_files(), key=lambda each: each.stat().st_size))  # c is the smallest
    assert ground.check().hurt == {ground.last: DATA}


def test_damage_is_found_again_each_day_until_it_is_mended(ground: Ground, tmp_path: Path) -> None:
    ground.check()
    pack = min(ground.packs_of_files(), key=lambda each: each.stat().st_size)
    shutil.copy(pack, tmp_path / "good")
    flip(pack)
    assert ground.check(everything=True).hurt == {ground.last: DATA}
    assert ground.check(at=BEGAN_S + DAY_S).hurt == {ground.last: DATA}
    pack.chmod(0o600)
    shutil.copy(tmp_path / "good", pack)
    outcome = ground.check(at=BEGAN_S + 2 * DAY_S)
    assert outcome.findings == () and outcome.hurt == {}


@pytest.mark.parametrize("is_removed", [True, False], ids=["missing", "damaged"])
def test_a_pack_of_folders_hurts_its_snapshot(ground: Ground, is_removed: bool) -> None:
    folders = [p for p in (ground.place.path / "data").glob("*/*") if p not in ground.packs_of_files()]
    assert folders
    for pack in folders:
        if is_removed:
            pack.unlink()
        else:
            flip(pack, 0.05)
    assert ground.check().hurt == dict.fromkeys(ground.ids, FOLDERS)


def test_a_missing_pack_is_found_by_the_structure(ground: Ground) -> None:
    ground.check()
    pack = min(ground.packs_of_files(), key=lambda each: each.stat().st_size)
    pack.unlink()
    outcome = ground.check(at=BEGAN_S + DAY_S)
    assert [str(each) for each in outcome.findings] == [f"data/{pack.name}: does not exist"]
    assert outcome.hurt == {ground.last: DATA}


def test_a_snapshots_record_that_is_gone_or_damaged_hurts_that_one(ground: Ground) -> None:
    (ground.place.path / "snapshots" / ground.first).unlink()
    flip(ground.place.path / "snapshots" / ground.both)
    assert ground.check().hurt == {ground.first: RECORD_MISSING, ground.both: RECORD_DAMAGED}


@pytest.mark.parametrize("kind", ["index", "config"])
def test_without_an_index_or_the_config_nothing_can_be_read(ground: Ground, kind: str) -> None:
    path = ground.place.path
    damaged = path / "config" if kind == "config" else next((path / "index").iterdir())
    flip(damaged)
    outcome = ground.check()
    assert any(each.target is not None and each.target.kind == kind for each in outcome.findings)
    assert outcome.hurt == dict.fromkeys(ground.ids, UNREADABLE)


def test_a_damaged_key_is_found_and_hurts_no_snapshot_while_another_opens(ground: Ground) -> None:
    for key in (ground.place.path / "keys").iterdir():
        content = key.read_bytes()
        flip(key)
        outcome = ground.check(everything=True)
        assert outcome.findings[0].target == Target(Kind.KEYS, key.name)
        if len(outcome.findings) == 1:
            assert outcome.hurt == {}
        else:  # the console's own
            assert outcome.hurt == dict.fromkeys(ground.ids, UNREADABLE)
        key.write_bytes(content)


def test_another_repository_in_its_place_is_noticed(ground: Ground) -> None:
    with open_repository(ground.place.path, PASSWORD, ground.binary) as repository:
        restic_id = repository.read_id()
    assert ground.check(restic_id=restic_id).findings == ()
    outcome = ground.check(restic_id="f" * 64)
    assert [str(each) for each in outcome.findings] == ["config: it is that of another repository"]
    assert outcome.hurt == dict.fromkeys(ground.ids, UNREADABLE)


def test_a_snapshot_that_nobody_knows_is_a_stray_and_rests_from_when_it_was_met(ground: Ground) -> None:
    ground.check(ids=ground.ids - {ground.both})
    outcome = ground.check(ids=ground.ids - {ground.both}, at=BEGAN_S + DAY_S)
    [stray] = outcome.strays
    assert stray.snapshot_id == ground.both and stray.first_seen.timestamp() == BEGAN_S
    assert stray.hostname == "ground" and stray.tags == ("run=1",)
    assert outcome.findings == ()
