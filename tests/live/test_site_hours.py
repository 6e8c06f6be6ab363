"""Blocked hours and machines that are away, through a whole console with a real device. Minutes: real hours
have to begin and end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.flows import picture_of
from tests.live.ground import Device, wait_until
from tests.live.site import Enrolled, LiveSite, run_site

pytestmark = [pytest.mark.slow, pytest.mark.full]
MB = 1_000_000
SIZE = 240 * MB


@pytest.fixture
def site(live_ground: None, tmp_path: Path) -> Iterator[LiveSite]:
    with run_site(tmp_path / "home") as site:
        yield site


def protect(enrolled: Enrolled, folder: Path, **fields: object) -> None:
    every = {"schedule": "every", "every_minutes": 7 * 24 * 60, **fields}
    enrolled.site.do("set_sources", device=enrolled.slug, sources=[{"path": str(folder)}], fields=every)


def test_a_first_backup_goes_on_from_where_blocked_hours_stopped_it(site: LiveSite, device: Device) -> None:
    folder = device.btrfs / "data"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}").write_bytes(os.urandom(SIZE // 30))
    enrolled = Enrolled(site, device, "hours")
    enrolled.pin()
    # It sends for a minute; the hours begin in the middle of that. Five packs are on their way at any time,
    # and none of them is there before it is whole.
    protect(enrolled, folder, when_blocked="stop", upload_mb_s=4)
    site.do("block_hours", device=enrolled.slug, after_s=45, lasts_s=30)
    site.do("make_due", device=enrolled.slug)
    wait_until(lambda: bool(enrolled.runs()), timeout_s=120, what="a run")
    first = site.wait_for_end(enrolled.runs()[0]["number"])
    assert (first["state"], first["error_code"]) == ("cancelled", "blocked-hours")
    assert first["error_text"].startswith("Stopped at ")
    assert enrolled.notices() == []
    assert enrolled.points() == []
    sent = enrolled.stored_bytes()
    assert 0 < sent < SIZE
    enrolled.wait_until_clean()
    following = enrolled.runs()[-1]
    assert (following["state"], following["attempt"]) == ("queued", 1)
    assert following["not_before"] > first["ended_at"]
    second = site.wait_for_state(following["number"], "succeeded")
    assert second["stored_bytes"] < SIZE, "only the rest was sent"
    assert enrolled.stored_bytes() < SIZE + 20 * MB
    (point,) = enrolled.points()
    target = device.directory / "restored"
    enrolled.restore(point, target)
    assert picture_of(target) == picture_of(folder)
    assert len(enrolled.runs()) == 3, "one that stopped, one that went on, and the restore"


def test_a_machine_that_is_away_leaves_one_run_that_waits(site: LiveSite, device: Device) -> None:
    folder = device.btrfs / "data"
    folder.mkdir()
    (folder / "file").write_text("on a laptop")
    enrolled = Enrolled(site, device, "laptop")
    enrolled.pin()
    protect(enrolled, folder)
    (known,) = site.rows("SELECT port FROM fleet_device WHERE slug = ?", enrolled.slug)
    site.do("leave", device=enrolled.slug, port=1)
    site.do("make_due", device=enrolled.slug)
    wait_until_it_waits_again(enrolled, -1)
    for _ in range(3):
        (run,) = enrolled.runs()
        site.do("hurry", number=run["number"])
        wait_until_it_waits_again(enrolled, run["sequence"])
    assert len(enrolled.runs()) == 1
    assert enrolled.notices() == []
    site.do("leave", device=enrolled.slug, port=known["port"])
    (run,) = enrolled.runs()
    site.do("hurry", number=run["number"])
    assert site.wait_for_state(run["number"], "succeeded")["error_code"] == ""
    assert len(enrolled.points()) == 1


def wait_until_it_waits_again(enrolled: Enrolled, sequence: int) -> None:
    """Wait until the device's run was tried since it had this sequence, and waits."""

    def does_wait() -> bool:
        runs = [(run["state"], run["error_code"]) for run in enrolled.runs() if run["sequence"] > sequence]
        return runs == [("queued", "away")]

    wait_until(does_wait, timeout_s=180, what="a run that waits for its device")
