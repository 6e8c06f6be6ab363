"""The console's own machine as a device: the same flows without SSH."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.errors import PlanRefused
from agents.local import LocalSession
from agents.session import Session
from tests.live.flows import Console, assert_device_is_clean, picture_of
from tests.live.ground import Device


class OwnMachine(Console):
    """A console that backs up the machine it runs on."""

    is_local = True

    def open_session(self) -> Session:
        return LocalSession()


@pytest.fixture
def console(device: Device, tmp_path: Path) -> OwnMachine:
    return OwnMachine(device, tmp_path)


def test_the_own_machine_is_backed_up_and_restored_without_ssh(console: OwnMachine) -> None:
    source = console.device.btrfs / "data"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("here")
    before = picture_of(source)
    (point,) = console.back_up(source).points
    assert point.method == "btrfs"
    target = Path("/var/lib") / f"restored-{console.id}"
    try:
        console.restore(point.restic_id, source, target)
        assert picture_of(target) == before
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)
    assert_device_is_clean(console)
    assert "Accepted" not in console.device.sshd_log


def test_the_repository_is_never_a_source_of_itself(console: OwnMachine) -> None:
    with pytest.raises(PlanRefused) as refusal:
        console.back_up(console.place.path, fallback="accept-live")
    assert "repository" in refusal.value.message


def test_a_source_that_holds_the_repository_leaves_it_out(console: OwnMachine) -> None:
    (point,) = console.back_up(console.place.path.parent, fallback="accept-live").points
    assert point.size_bytes < 1_000_000
    assert any("holds the repository" in sentence for sentence in console.sentences)
