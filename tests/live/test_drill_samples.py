"""Restore points are looked into, not restored: what is whole passes, what rots or is short does not.

A few seconds each."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from agents.applications.stored import Stored
from agents.drilling import sampling
from agents.errors import RepositoryBroken
from tests.live.drills import Prover, assert_proven, assert_refuted
from tests.live.ground import Device


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Prover:
    return Prover(device, tmp_path)


@pytest.fixture
def stored(console: Prover) -> Stored:
    folder = console.device.btrfs / "data"
    (folder / "sub").mkdir(parents=True)
    for number in range(sampling.SAMPLE + 5):
        (folder / "sub" / f"{number}").write_bytes(os.urandom(50_000))
    (folder / "empty").touch()
    (folder / "\udcff\n").write_text("a name that is no text")
    return console.store(folder, "", "btrfs")


def test_what_is_whole_passes_and_its_hashes_are_those_of_the_files(console: Prover, stored: Stored) -> None:
    evidence = console.sample(stored)
    assert_proven(evidence, "manifest", "files")
    assert (evidence.files, len(evidence.hashes)) == (sampling.SAMPLE + 7, sampling.SAMPLE)
    assert (evidence.restore_s, evidence.start_s) == (0.0, 0.0)
    for each in evidence.hashes:
        assert hashlib.sha256(Path(each.path).read_bytes()).hexdigest() == each.sha256


def test_of_a_large_file_the_beginning_is_read(console: Prover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "LARGEST", 1 << 20)
    file = console.device.btrfs / "dump.rdb"
    file.write_bytes(os.urandom(5_000_000))
    evidence = console.sample(console.store_stream(file, "redis", "stream"))
    assert_proven(evidence, "manifest", "files")
    assert evidence.hashes == ()


def packs(console: Prover) -> list[Path]:
    """The repository's packs, the smallest (it holds the structure) first."""
    return sorted((console.place.path / "data").glob("*/*"), key=lambda each: each.stat().st_size)


def spoil(pack: Path) -> None:
    with pack.open("r+b") as file:
        file.write(bytes(byte ^ 0xFF for byte in pack.read_bytes()[: pack.stat().st_size // 2]))


def test_files_that_rot_are_found(console: Prover, stored: Stored) -> None:
    spoil(packs(console)[-1])
    evidence = console.sample(stored)
    assert [check.name for check in evidence.checks] == ["manifest", "read"]
    assert_refuted(evidence, "read")


def test_a_structure_that_rots_is_found(console: Prover, stored: Stored) -> None:
    spoil(packs(console)[0])
    assert_refuted(console.sample(stored), "read")


def test_an_empty_folder_and_an_empty_stream_prove_nothing(console: Prover) -> None:
    folder = console.device.btrfs / "empty"
    folder.mkdir()
    assert "nothing is in it" in assert_refuted(
        console.sample(console.store(folder, "", "btrfs")), "manifest"
    )
    file = console.device.btrfs / "dump.rdb"
    file.touch()
    stream = console.store_stream(file, "redis", "stream")
    assert "nothing is in it" in assert_refuted(console.sample(stream), "manifest")


def test_a_repository_that_is_gone_and_a_point_that_is_gone(console: Prover, stored: Stored) -> None:
    (part,) = stored.parts
    assert_refuted(console.sample(replace(stored, parts=(replace(part, restic_id="0" * 64),))), "read")
    console.place.path.rename(console.place.path.with_name("away"))
    with pytest.raises(RepositoryBroken):
        console.sample(stored)
