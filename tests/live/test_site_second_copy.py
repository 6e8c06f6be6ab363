"""A device gets its data back from the second copy when its repository is gone, through a whole console.

About a minute on two cores."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.live.flows import picture_of
from tests.live.ground import Device
from tests.live.site import run_site

pytestmark = [pytest.mark.slow, pytest.mark.full]


def test_a_device_is_restored_from_the_second_copy(live_ground: None, device: Device, tmp_path: Path) -> None:
    source = device.btrfs / "data"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_bytes(os.urandom(3_000_000))
    with run_site(tmp_path / "home") as site:
        enrolled = site.enrol(device, source)
        enrolled.back_up()
        (point,) = enrolled.points()
        copying = site.do("ask_second_copy", device=enrolled.slug, storage=str(device.directory / "second"))
        site.wait_for_state(copying, "succeeded")
        before = picture_of(source)
        shutil.rmtree(enrolled.repository)

        asked = {"point": point["id"], "folder": point["source"]}
        insisted = device.directory / "from-the-first"
        first = site.do("ask_files", **asked, target=str(insisted), origin="first")
        site.wait_for_state(first, "failed")
        assert not insisted.exists()
        for origin in ("copy", ""):  # a person says so, or nobody does
            target = device.directory / f"from-{origin or 'what-is-there'}"
            number = site.do("ask_files", **asked, target=str(target), origin=origin)
            site.wait_for_state(number, "succeeded")
            assert picture_of(target) == before
            lines = site.rows("SELECT l.text FROM runs_runline l JOIN runs_run r ON r.id = l.run_id "
                              "WHERE r.number = ?", number)  # fmt: skip
            assert any("second copy in second of" in line["text"] for line in lines)
        site.wait_for_state(site.do("ask_folder", point=point["id"], folder=str(source)), "succeeded")
        assert site.do("read_folder", point=point["id"], folder=str(source)) == ["deep"]
        enrolled.wait_until_clean()
