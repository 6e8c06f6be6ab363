"""A restore into a folder that is not empty: what exists stays, and nobody can send the files elsewhere."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.errors import RestoreTargetRefused
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def target(console: Console) -> Iterator[Path]:
    path = Path("/var/lib") / f"restored-{console.id}"
    path.mkdir(mode=0o700)
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


@pytest.fixture
def point(console: Console) -> str:
    folder = console.device.btrfs / "data" / "a" / "b c"
    folder.mkdir(parents=True)
    (folder / "file").write_text("from the restore point")
    return console.back_up(console.device.btrfs / "data").points[0].restic_id


@pytest.mark.parametrize("what", ["file", "link"])
@pytest.mark.parametrize("where", ["a", "a/b c"])
def test_a_file_that_would_become_a_folder_is_not_deleted(
    console: Console, target: Path, point: str, where: str, what: str
) -> None:
    path = target / where
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if what == "file":
        path.write_text("precious")
    else:
        path.symlink_to("/nowhere")
    with pytest.raises(RestoreTargetRefused, match="would delete it"):
        console.restore(point, console.device.btrfs / "data", target)
    assert path.is_symlink() if what == "link" else path.read_text() == "precious"
    assert_device_is_clean(console)


def test_files_beside_what_is_restored_stay(console: Console, target: Path, point: str) -> None:
    (target / "a" / "b c").mkdir(parents=True)
    for path in (target / "other", target / "a" / "other", target / "a" / "b c" / "new\nline"):
        path.write_text("mine")
    console.restore(point, console.device.btrfs / "data", target)
    assert (target / "a" / "b c" / "file").read_text() == "from the restore point"
    assert (target / "a" / "b c" / "new\nline").read_text() == "mine"


def test_a_folder_of_a_user_in_an_open_target_is_refused(console: Console, target: Path, point: str) -> None:
    target.chmod(0o755)
    (target / "a").mkdir()
    os.chown(target / "a", 65534, 65534)
    with pytest.raises(RestoreTargetRefused, match="changed by others"):
        console.restore(point, console.device.btrfs / "data", target)
    assert not list((target / "a").iterdir())
    target.chmod(0o700)
    assert console.restore(point, console.device.btrfs / "data", target).is_complete
