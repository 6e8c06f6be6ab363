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


def _back_up_by_hand(repository: Path, source: Path) -> None:
    program = str(Path(sys.executable).parent / "restic")
    environment = {"RESTIC_PASSWORD": "theirs", "PATH": "/usr/bin:/bin", "HOME": str(repository.parent)}
    for words in (["init"], ["backup", "--host", "web-7", str(source)]):
        subprocess.run([program, "-q", "-r", str(repository), *words], env=environment, check=True)
