"""A repository that stock restic made is adopted by a whole console, and restored onto a real device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.flows import picture_of
from tests.live.ground import Device
from tests.live.site import run_site

pytestmark = [pytest.mark.slow, pytest.mark.full]


def test_an_adopted_restore_point_is_restored_onto_its_device(
    live_ground: None, device: Device, tmp_path: Path
) -> None:
    source = device.btrfs / "data"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_bytes(os.urandom(1_000_000))
    with run_site(tmp_path / "home") as site:
        enrolled = site.enrol(device, source)
        _back_up_by_hand(enrolled.repository.parent / "old", source)
        adoption = site.do("ask_to_adopt", device=enrolled.slug, name="old", password="theirs")
        site.wait_for_state(adoption, "succeeded")
        (point,) = enrolled.points()
        assert (point["method"], point["source"], point["consistency"]) == ("adopted", str(source), "none")
        target = device.directory / "restored-from-the-adopted"
        enrolled.restore(point, target)
        assert picture_of(target) == picture_of(source)
        enrolled.back_up()  # goes into the same repository
        assert len(enrolled.points()) == 2


def test_an_adopted_restore_point_of_two_folders_leaves_what_lies_beside_them(
    live_ground: None, device: Device, tmp_path: Path
) -> None:
    top = device.btrfs / "srv"
    for name in ("kept", "first", "second"):
        (top / name).mkdir(parents=True)
        (top / name / "file").write_text(name)
    with run_site(tmp_path / "home") as site:
        enrolled = site.enrol(device, top / "first")
        _back_up_by_hand(enrolled.repository.parent / "old", top / "first", top / "second")
        adoption = site.do("ask_to_adopt", device=enrolled.slug, name="old", password="theirs")
        site.wait_for_state(adoption, "succeeded")
        (point,) = enrolled.points()
        assert point["source"] == str(top)
        for name in ("first", "second"):
            (top / name / "file").write_text("spoilt")
            (top / name / "new").write_text("came later")
        again = site.do("ask_replacement", point=point["id"], names=[], mode="exact")
        site.wait_for_state(again, "succeeded")
        assert {path.relative_to(top).as_posix(): path.read_text() for path in top.glob("*/*")} == {
            f"{name}/file": name for name in ("kept", "first", "second")
        }


def _back_up_by_hand(repository: Path, *sources: Path) -> None:
    program = str(Path(sys.executable).parent / "restic")
    environment = {"RESTIC_PASSWORD": "theirs", "PATH": "/usr/bin:/bin", "HOME": str(repository.parent)}
    for words in (["init"], ["backup", "--host", "web-7", *map(str, sources)]):
        subprocess.run([program, "-q", "-r", str(repository), *words], env=environment, check=True)
