"""The main job through a whole console: queue, workers, tick and database, with a real device."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.flows import assert_device_is_clean, picture_of
from tests.live.ground import Device, wait_until
from tests.live.site import Enrolled, LiveSite, run_site
from tests.live.visitor import Visitor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(live_ground: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSite]:
    with run_site(tmp_path_factory.mktemp("console") / "home") as site:
        yield site


@pytest.fixture
def source(device: Device) -> Path:
    folder = device.btrfs / "data"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "file").write_bytes(os.urandom(5_000_000))
    (folder / "-rf \n \udcff").write_text("a name that nobody likes")
    (folder / "link").symlink_to("deep/er/file")
    return folder


def test_a_device_is_scanned_approved_checked_backed_up_and_restored(
    site: LiveSite, device: Device, source: Path
) -> None:
    enrolled = Enrolled(site, device, "first")
    enrolled.protect(source, schedule="every")
    _approve_after_a_scan(enrolled)
    _check(enrolled)
    run = enrolled.back_up()
    _expect_a_whole_record(enrolled, run["id"])
    (point,) = enrolled.points()
    assert (point["source"], point["method"], point["is_complete"]) == (str(source), "btrfs", 1)
    assert (point["consistency"], point["file_count"], point["problem_count"]) == ("crash", 2, 0)
    assert point["size_bytes"] > 5_000_000
    _browse(enrolled, point["id"], source)
    target = device.directory / "restored"
    restored = enrolled.restore(point, target)
    assert restored["files_done"] >= 2
    assert picture_of(target) == picture_of(source)
    _download(enrolled, point["id"], source)
    assert_device_is_clean(enrolled)
    _back_up_by_schedule(enrolled, source)


def _approve_after_a_scan(enrolled: Enrolled) -> None:
    site = enrolled.site
    site.wait_for_state(enrolled.ask("scan"), "succeeded")
    refused = site.wait_for_state(enrolled.ask("probe"), "failed")
    assert refused["error_code"] == "host-key-unknown"
    approved = site.do("approve_keys", device=enrolled.slug)
    assert sorted(approved) == sorted(key.fingerprint for key in enrolled.device.host_keys)


def _check(enrolled: Enrolled) -> None:
    run = enrolled.site.wait_for_state(enrolled.ask("probe"), "succeeded")
    checks = enrolled.site.rows("SELECT name, state, text FROM runs_runcheck WHERE run_id = ?", run["id"])
    states = {check["name"]: check["state"] for check in checks}
    assert {"reached", "host-key", "key", "privileges", "tools", "clock", "restic", "tunnel"} <= states.keys()
    assert "bad" not in states.values(), [tuple(check) for check in checks]
    assert states[f"file-system:{enrolled.device.btrfs}"] == "good"
    (row,) = enrolled.site.rows("SELECT * FROM fleet_device WHERE slug = ?", enrolled.slug)
    assert row["facts_at"] and row["reached_at"]


def _expect_a_whole_record(enrolled: Enrolled, run_id: str) -> None:
    site = enrolled.site
    phases = site.rows("SELECT * FROM runs_runphase WHERE run_id = ? ORDER BY id", run_id)
    names = [phase["name"] for phase in phases]
    assert names == ["connect", "check", "snapshot", "transfer", "verify", "clean-up"]
    assert all(phase["ended_at"] >= phase["started_at"] for phase in phases)
    lines = [row["text"] for row in site.rows("SELECT text FROM runs_runline WHERE run_id = ?", run_id)]
    assert any("read back as restore point" in line for line in lines)
    assert site.rows("SELECT id FROM runs_runsample WHERE run_id = ?", run_id)
    (run,) = site.rows("SELECT * FROM runs_run WHERE id = ?", run_id)
    assert 0 < run["freeze_ms"] < run["freeze_limit_ms"]
    assert run["bytes_done"] == run["bytes_total"] > 5_000_000
    assert (run["files_done"], run["problem_count"], run["error_code"]) == (
        2,
        0,
        "",
    )  # restic counts no links
    assert run["stored_bytes"] >= enrolled.stored_bytes() > 5_000_000
    (repository,) = site.rows(
        "SELECT * FROM repositories_repository WHERE uuid = ?", enrolled.repository.name.replace("-", "")
    )
    assert repository["restic_id"] and repository["used_bytes"] > 5_000_000
    assert _assignment(enrolled)["succeeded_at"] == run["started_at"]


def _assignment(enrolled: Enrolled) -> dict[str, str]:
    (row,) = enrolled.site.rows(
        "SELECT a.* FROM policies_policydevice a JOIN fleet_device d ON d.id = a.device_id WHERE d.slug = ?",
        enrolled.slug,
    )
    return dict(row)


def _browse(enrolled: Enrolled, point: str, source: Path) -> None:
    site = enrolled.site
    site.wait_for_state(site.do("ask_folder", point=point, folder=str(source)), "succeeded")
    names = site.do("read_folder", point=point, folder=str(source))
    assert sorted(names) == sorted(os.listdir(source))


def _download(enrolled: Enrolled, point: str, source: Path) -> None:
    site, file = enrolled.site, source / "deep" / "er" / "file"
    site.do("add_person", name="grace", password="correct horse battery")
    download, number = site.do("ask_file", point=point, path=str(file), archive="", name="grace")
    site.wait_for_state(number, "succeeded")
    visitor = Visitor(site.origin, "grace", "correct horse battery")
    assert _fetch_in_two(visitor, f"/downloads/{download}/file/") == file.read_bytes()
    assert Path(site.do("file_path", download=download)).read_bytes() == file.read_bytes()
    download, number = site.do("ask_file", point=point, path=str(source / "deep"), archive="tar")
    site.wait_for_state(number, "succeeded")
    with tarfile.open(site.do("file_path", download=download)) as archive:
        (member,) = [each for each in archive.getmembers() if each.isfile()]
        packed = archive.extractfile(member)
        assert packed is not None and packed.read() == file.read_bytes()
    download, number = site.do("ask_file", point=point, path=str(source / "deep"), archive="zip")
    site.wait_for_state(number, "succeeded")
    with zipfile.ZipFile(site.do("file_path", download=download)) as zipped:
        assert zipped.read(str(file).lstrip("/")) == file.read_bytes()


def _fetch_in_two(visitor: Visitor, path: str) -> bytes:
    """Fetch a download through a connection that is cut, and its rest through another one."""
    with visitor.open(path, {}) as answer:
        tag, came = answer.headers["ETag"], answer.read(1_234_567)
    with visitor.open(path, {"Range": f"bytes={len(came)}-", "If-Range": tag}) as answer:
        assert answer.status == 206
        return came + answer.read()


def _back_up_by_schedule(enrolled: Enrolled, source: Path) -> None:
    (source / "new").write_text("made after the first backup")
    known = len(enrolled.runs())
    enrolled.site.do("make_due", device=enrolled.slug)
    wait_until(lambda: len(enrolled.runs()) > known, timeout_s=120, what="a scheduled run")
    run = enrolled.runs()[-1]
    assert (run["kind"], run["requested_by"]) == ("backup", "schedule")
    ended = enrolled.site.wait_for_state(run["number"], "succeeded")
    assert _assignment(enrolled)["next_due"] > ended["ended_at"]
    assert len(enrolled.runs()) == known + 1
    assert [point["file_count"] for point in enrolled.points()] == [2, 3]
