"""What a restore will replace is backed up first: exactly that, whole, or nothing is replaced."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from agents.backup import BackupOutcome, BackupRequest
from agents.errors import AgentError, PlanRefused
from agents.flow import Unstoppable
from agents.restore import Mode
from agents.restoring.safety import save_first
from tests.live.flows import Console, assert_device_is_clean, picture_of
from tests.live.ground import Device


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def data(console: Console) -> Path:
    data = console.device.btrfs / "data"
    (data / "folder").mkdir(parents=True)
    (data / "folder" / "a").write_text("a")
    (data / "b").write_text("b")
    return data


def save(console: Console, *paths: Path) -> BackupOutcome | None:
    request = BackupRequest(
        console.id, secrets.token_hex(16), "db-01", (), console.place, console.binary, is_local=False
    )
    wanted = [str(path) for path in paths]
    return save_first(request, wanted, console.open_session, tell=console.tell, control=Unstoppable())


def test_what_exists_is_saved_and_comes_back_exactly(console: Console, data: Path) -> None:
    before = picture_of(data)
    outcome = save(console, data / "folder", data / "missing", data / "b")
    assert outcome is not None
    assert [point.source for point in outcome.points] == [f"{data}/folder", f"{data}/b"]
    (data / "folder" / "a").write_text("replaced")
    (data / "folder" / "new").write_text("came with the restore")
    (data / "b").unlink()
    for point in outcome.points:
        console.restore(point.restic_id, point.paths[0], None, mode=Mode.EXACT)
    assert picture_of(data) == before
    assert_device_is_clean(console)


def test_where_nothing_is_nothing_is_saved(console: Console, data: Path) -> None:
    assert save(console, data / "missing", data / "folder" / "missing") is None
    assert console.count_restore_points() == 0
    assert any("no safety restore point is needed" in sentence for sentence in console.sentences)
    assert_device_is_clean(console)


def test_a_link_in_its_place_is_refused_before_anything(console: Console, data: Path) -> None:
    (data / "link").symlink_to("/etc")
    with pytest.raises(PlanRefused, match="is a symbolic link, and a link") as refused:
        save(console, data / "b", data / "link")
    assert "folder that holds it" in refused.value.remedy
    assert "untick" in refused.value.remedy
    assert "policy" not in refused.value.message + refused.value.remedy
    assert console.count_restore_points() == 0


def test_a_device_that_is_away_saves_nothing(console: Console, data: Path) -> None:
    console.pinned = []
    with pytest.raises(AgentError):
        save(console, data / "b")
    assert console.count_restore_points() == 0
