"""A device whose repository lies in an object store, through a whole console: backed up, copied out to a
directory, browsed, restored. About half a minute on two cores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.agents.object_ground import BUCKET, KEY, SECRET, serve_objects
from tests.live.flows import picture_of
from tests.live.ground import Device
from tests.live.site import run_site

pytestmark = [pytest.mark.slow, pytest.mark.full]


def test_a_device_is_kept_in_an_object_store(live_ground: None, device: Device, tmp_path: Path) -> None:
    source = device.btrfs / "data"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_bytes(os.urandom(3_000_000))
    with serve_objects(tmp_path / "server") as server, run_site(tmp_path / "home") as site:
        enrolled = site.enrol(device, source)
        where = {"endpoint": server.endpoint, "bucket": BUCKET, "account": KEY, "secret": SECRET}
        site.do("keep_in_objects", device=enrolled.slug, **where)
        enrolled.back_up()
        (point,) = enrolled.points()
        assert any(each.parent.name == "snapshots" for each in server.files())
        before = picture_of(source)
        second = str(device.directory / "second")
        copying = site.do("ask_second_copy", device=enrolled.slug, storage=second)
        site.wait_for_state(copying, "succeeded")
        site.wait_for_state(site.do("ask_folder", point=point["id"], folder=str(source)), "succeeded")
        target = device.directory / "restored"
        wish = {"point": point["id"], "folder": point["source"], "target": str(target), "origin": "first"}
        site.wait_for_state(site.do("ask_files", **wish), "succeeded")
        assert picture_of(target) == before
        enrolled.wait_until_clean()
