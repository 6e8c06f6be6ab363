"""Hot by the schedule, cold in the window, through a whole console: who is stopped when, what comes of it.

About 40 seconds on two cores."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.cold_ground import Ledger, what_is_torn
from tests.live.ground import Device, wait_until
from tests.live.site import Enrolled, LiveSite, run_site

pytestmark = pytest.mark.slow


@pytest.fixture
def site(live_ground: None, tmp_path: Path) -> Iterator[LiveSite]:
    with run_site(tmp_path / "home") as site:
        yield site


@pytest.fixture
def ledger(device: Device, tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(device.btrfs / "ledger", tmp_path / "state", f"hotfleet-window-{device.name}") as ledger:
        ledger.start()
        yield ledger


def sources_of(device: Device, ledger: Ledger) -> list[dict[str, str]]:
    (device.btrfs / "files").mkdir()
    (device.btrfs / "files" / "letter").write_text("hot")
    return [
        {"path": str(device.btrfs / "files")},
        {"path": str(ledger.data), "mode": "cold", "services": ledger.name},
        {"application": "command", "instance": "kernel.txt", "command": "uname -r", "path": ""},
        {"path": "/var/cache", "mode": "out"},
    ]


def test_the_cold_run_goes_first_and_the_hot_one_stops_nothing(
    site: LiveSite, device: Device, ledger: Ledger
) -> None:
    enrolled = Enrolled(site, device, "windows")
    enrolled.pin()
    fields = {"schedule": "every", "every_minutes": 60, "cold_is_enabled": True}
    site.do("set_sources", device=enrolled.slug, sources=sources_of(device, ledger), fields=fields)
    site.do("make_both_due", device=enrolled.slug)
    wait_until(lambda: len(enrolled.runs()) == 2, timeout_s=120, what="two runs")
    cold, hot = (site.wait_for_end(run["number"], timeout_s=120) for run in enrolled.runs())
    windows = [json.loads(run["request"])["window"] for run in (cold, hot)]
    assert windows == ["cold", "hot"]
    assert [run["state"] for run in (cold, hot)] == ["succeeded", "succeeded"]
    assert cold["ended_at"] <= hot["started_at"], "one after the other, cold first"
    assert ledger.runs and ledger.calls == ["start", "stop", "start"], "the hot run stopped nothing"
    points = {point["source"]: point for point in enrolled.points()}
    assert set(points) == {str(device.btrfs / "files"), str(ledger.data), "command:kernel.txt"}
    assert points[str(ledger.data)]["method"] == "cold+btrfs"
    assert points[str(ledger.data)]["run_id"] == cold["id"]
    _expect_whole_copy(enrolled, ledger, device)
    _expect_stream(enrolled, device)


def _expect_whole_copy(enrolled: Enrolled, ledger: Ledger, device: Device) -> None:
    (point,) = [each for each in enrolled.points() if each["source"] == str(ledger.data)]
    target = device.directory / "ledger-restored"
    enrolled.restore(point, target)
    assert what_is_torn(target) == []


def _expect_stream(enrolled: Enrolled, device: Device) -> None:
    """A stream is browsed from / and restored as a file."""
    site = enrolled.site
    (point,) = [each for each in enrolled.points() if each["source"].startswith("command:")]
    assert (point["part"], point["consistency"]) == ("kernel.txt", "none")
    site.wait_for_state(site.do("ask_folder", point=point["id"], folder="/"), "succeeded")
    assert site.do("read_folder", point=point["id"], folder="/") == ["kernel.txt"]
    target = device.directory / "stream-restored"
    site.wait_for_state(site.do("ask_files", point=point["id"], folder="/", target=str(target)), "succeeded")
    kernel = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout
    assert (target / "kernel.txt").read_text() == kernel
