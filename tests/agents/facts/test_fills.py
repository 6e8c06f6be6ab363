"""How full file systems are: asked of this machine, and of answers that are none."""

from __future__ import annotations

import os
import subprocess

import pytest

from agents.errors import ProtocolBroken
from agents.facts.fills import Fill, fills_command, measured_points, parse_fills
from tests.agents.facts.samples import make_mount


def test_this_machine_says_what_statfs_says() -> None:
    asked = fills_command(["/", "/nowhere at all", "/proc"])
    output = subprocess.run(asked.argv, capture_output=True, check=True).stdout
    fills = {fill.point: fill.used_bytes for fill in parse_fills(output)}
    assert set(fills) == {"/", "/proc"}
    said = os.statvfs("/")
    assert fills["/"] == pytest.approx((said.f_blocks - said.f_bfree) * said.f_frsize, rel=0.05)


def test_only_file_systems_of_the_device_itself_are_asked_once_each() -> None:
    mounts = [
        make_mount("/data/again", "btrfs", "0:40"), make_mount("/data", "btrfs", "0:40"),
        make_mount("/proc", "proc", "0:5"), make_mount("/far", "nfs4", "0:50"),
        make_mount("/pool", "fuse.mergerfs", "0:60"), make_mount("/cd", "iso9660", "11:0", "/", "ro"),
    ]  # fmt: skip
    assert measured_points(mounts) == ["/data"]


@pytest.mark.parametrize("said", [b"1 2", b"a b c", b"1 2 3 4", b"-1 0 4096"])
def test_an_answer_that_is_none_is_refused(said: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        parse_fills(b"/\0" + said + b"\0")


def test_more_free_than_there_is_means_nothing_is_used() -> None:
    assert parse_fills(b"/\x001 2 4096\x00") == (Fill("/", 0),)
