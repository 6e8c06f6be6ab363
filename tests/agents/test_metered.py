"""What maintenance reads is counted where it is read, by restic too, and goes no faster than it may."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agents.commands import Secret
from agents.gateway.metered import Meter
from agents.maintaining.copying import copy_snapshots, named_as_source
from agents.maintaining.structure import check_structure
from agents.restic.binary import Binary
from agents.restic.repository import create, open_repository
from tests.agents.gateway_ground import PASSWORD, RECOVERY, _template, binary
from tests.agents.maintenance_ground import Ground, Patient, flip, make_ground

__all__ = ["_template", "binary"]
OTHER = Secret("0123456789abcdef" * 4)


@dataclass
class Clock:
    """A clock that only sleeping moves."""

    at: float = 100.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def ground(_template: Path, binary: Binary, tmp_path: Path) -> Ground:
    shutil.copytree(_template, tmp_path / "repository")
    return make_ground(tmp_path / "repository", binary, tmp_path / "source")


@pytest.mark.parametrize("piece", [1_000, 65_536, 3_000_000])
def test_reading_and_writing_together_keep_to_the_rate(piece: int) -> None:
    clock = Clock()
    meter = Meter(1_000_000, now=clock.now, sleep=clock.sleep)
    moved = 0
    while moved < 20_000_000:
        meter.took(piece)
        meter.moved(piece)
        moved += 2 * piece
    assert clock.at - 100.0 == pytest.approx(moved / 1_000_000, abs=1.0)
    assert meter.read_bytes == moved // 2, "what is written is no reading"


def test_a_pause_does_not_allow_a_burst_of_its_whole_length() -> None:
    clock = Clock()
    meter = Meter(1_000_000, now=clock.now, sleep=clock.sleep)
    clock.at += 3600
    meter.took(10_000_000)
    assert clock.at - 3700.0 >= 9.0


def test_without_a_rate_it_only_counts() -> None:
    clock = Clock()
    meter = Meter(now=clock.now, sleep=clock.sleep)
    meter.took(10**12)
    assert (clock.at, meter.read_bytes) == (100.0, 10**12)


def test_a_pass_over_all_files_counts_all_their_bytes_and_finds_damage_as_ever(ground: Ground) -> None:
    meter = Meter()
    metered = replace(ground, place=replace(ground.place, meter=meter))
    outcome = metered.check(everything=True)
    assert not outcome.findings and outcome.is_structure_checked
    assert outcome.reading.read_bytes <= meter.read_bytes
    by_restic = meter.read_bytes - outcome.reading.read_bytes
    # What restic's check must read: the index, and the pack of the trees.
    index = sum(each.stat().st_size for each in (ground.place.path / "index").iterdir())
    assert by_restic >= index > 0
    pack = max((ground.place.path / "data").glob("*/*"), key=lambda each: each.stat().st_size)
    flip(pack)
    assert pack.name in {each.target.name for each in metered.check(everything=True).findings if each.target}


def test_restic_in_a_directory_is_counted_and_without_a_meter_works_as_before(ground: Ground) -> None:
    assert ground.place.location == ground.place.path
    meter = Meter()
    place = replace(ground.place, meter=meter)
    with open_repository(place.location, place.password, ground.binary) as engine:
        assert check_structure(engine, Patient()) == []
        assert {each.snapshot_id for each in engine.list_snapshots()} == ground.ids
    assert meter.read_bytes > 0


def test_a_copy_counts_the_data_where_it_is_read(ground: Ground, tmp_path: Path) -> None:
    read, written = Meter(), Meter()
    place = replace(ground.place, meter=read)
    with ExitStack() as stack:
        source = stack.enter_context(open_repository(place.location, PASSWORD, ground.binary))
        like = stack.enter_context(named_as_source(source))
        create(tmp_path / "other", OTHER, RECOVERY, ground.binary, like)
        there = replace(place, path=tmp_path / "other", meter=written)
        target = stack.enter_context(open_repository(there.location, OTHER, ground.binary))
        done: dict[str, str] = {}
        for each in copy_snapshots(source, target, [ground.both], tell=ground.told.append, control=Patient()):
            done |= each
        assert target.read_back(done[ground.both])
    data = sum(each.stat().st_size for each in (tmp_path / "other" / "data").glob("*/*"))
    assert read.read_bytes >= 0.9 * data, "what came there was read here"
    assert written.read_bytes < data
