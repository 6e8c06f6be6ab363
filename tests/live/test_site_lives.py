"""A device keeps its history over the years: it is renamed, reinstalled, taken out of service.

About a minute on two cores."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from agents.commands import Secret
from agents.restic.binary import find_binary
from agents.restic.repository import open_repository
from tests.live.flows import VENV_BIN, picture_of
from tests.live.ground import Device, command
from tests.live.site import Enrolled, run_site

pytestmark = [pytest.mark.slow, pytest.mark.full]
SIZE, MODIFIED = 1_000_000, 1_700_000_000


def test_a_device_is_renamed_reinstalled_and_taken_out_of_service(
    live_ground: None, device: Device, tmp_path: Path
) -> None:
    data = device.btrfs / "data"
    write(data)
    with run_site(tmp_path / "home") as site:
        enrolled = site.enrol(device, data)
        old = picture_of(data)  # reading it later would be a change: of the times of access
        enrolled.back_up()

        site.do("rename", device=enrolled.slug, name="another name")
        enrolled.back_up()
        first, renamed = enrolled.points()
        assert renamed["is_unchanged"] and renamed["restic_id"] == first["restic_id"]

        reinstall(device)
        write(data)  # the same names, sizes and times, nothing else
        new = picture_of(data)
        assert new != old
        refused = site.wait_for_state(enrolled.ask("backup"), "failed")
        assert refused["error_code"] == "host-key-changed"
        site.wait_for_state(enrolled.ask("scan"), "succeeded")
        assert site.do("approve_keys", device=enrolled.slug)
        enrolled.authorize()
        enrolled.back_up()
        *_, reinstalled = enrolled.points()
        assert not reinstalled["is_unchanged"] and reinstalled["stored_bytes"] >= SIZE
        assert restored(enrolled, first, "old") == old
        assert restored(enrolled, reinstalled, "new") == new

        site.do("retire", device=enrolled.slug)
        refused = site.wait_for_state(enrolled.ask("backup"), "failed")
        assert "out of service" in refused["error_text"]
        site.wait_for_state(site.do("let_go_but_the_newest", device=enrolled.slug), "succeeded")
        assert [point["id"] for point in enrolled.points()] == [reinstalled["id"]]
        assert list_snapshots(enrolled) == [reinstalled["restic_id"]]
        assert restored(enrolled, reinstalled, "kept") == new
        enrolled.wait_until_clean()


def write(data: Path) -> None:
    command("btrfs", "subvolume", "create", data)
    for name in ("a", "b"):
        (data / name).write_bytes(os.urandom(SIZE))
        os.utime(data / name, (MODIFIED, MODIFIED))
    os.utime(data, (MODIFIED, MODIFIED))


def reinstall(device: Device) -> None:
    """Give the device new host keys, nobody's key, and a new file system where the old one was."""
    image = device.directory / "btrfs.img"
    size = image.stat().st_size
    command("umount", device.btrfs)
    image.unlink()  # another disk: its loop device may be in use still
    with image.open("wb") as file:
        file.truncate(size)
    command("mkfs.btrfs", "-q", image)
    command("mount", "-t", "btrfs", "-o", "loop", image, device.btrfs)
    device.swap_host_key()


def restored(enrolled: Enrolled, point: sqlite3.Row, name: str) -> dict[bytes, tuple[object, ...]]:
    target = enrolled.device.directory / f"restored-{name}"
    enrolled.restore(point, target)
    return picture_of(target)


def list_snapshots(enrolled: Enrolled) -> list[str]:
    with open_repository(enrolled.repository, Secret(enrolled.password), find_binary([VENV_BIN])) as engine:
        return [info.snapshot_id for info in engine.list_snapshots()]
