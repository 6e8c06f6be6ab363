"""Snapshots that are volumes: mounted for one long program, seen by nobody else, gone with it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.binds import Bind, Volume
from agents.commands import Command
from agents.errors import PlatformRefused
from agents.runner import Runner
from tests.live.ground import command, wait_until
from tests.live.hearing import read_all
from tests.live.shells import ShellSession

CONSOLE = f"v{os.getpid()}"


@pytest.fixture(params=["dash", "busybox"])
def runner(live_ground: None, request: pytest.FixtureRequest) -> Iterator[Runner]:
    session = ShellSession(request.param)
    run_id = f"r{time.monotonic_ns():x}"
    with Runner(session, console_id=CONSOLE, run_id=run_id, tell=lambda event: None) as runner:
        yield runner


@pytest.fixture(params=["ext4", "xfs"])
def volume(live_ground: None, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Volume]:
    """A block device with two folders, a link out of it, and a twin of the same UUID that is mounted."""
    image, twin, place = tmp_path / "image", tmp_path / "twin", tmp_path / "place"
    with image.open("wb") as file:
        file.truncate(320 << 20)
    command(f"mkfs.{request.param}", "-q", image)
    place.mkdir()
    command("mount", "-o", "loop", image, place)
    for folder in ("a b", "c"):
        (place / folder / "deep").mkdir(parents=True)
        (place / folder / "deep" / "file").write_text(f"old {folder}")
    (place / "link").symlink_to("/etc")
    command("fsfreeze", "-f", place)
    command("cp", "--sparse=always", image, twin)
    command("fsfreeze", "-u", place)
    device = command("losetup", "--find", "--show", "--read-only", twin).stdout.strip()
    options = {"ext4": "ro,noload", "xfs": "ro,nouuid,norecovery"}[request.param]
    try:
        yield Volume(device, request.param, options)
    finally:
        wait_until(lambda: not is_mounted(device), what="the end of the mount")
        command("losetup", "--detach", device)
        command("umount", place)


def is_mounted(device: str) -> bool:
    """Whether any process sees it mounted, also one in a namespace of its own."""
    needle = f" {device} "
    for path in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            if needle in path.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError, OSError):
            continue
    return False


def places(tmp_path: Path, *names: str) -> list[Path]:
    found = [tmp_path / "place" / name for name in names]
    for each in found:
        (each / "deep" / "file").write_text("new")
    return found


def test_two_folders_of_a_volume_are_seen_at_their_true_paths(
    runner: Runner, volume: Volume, tmp_path: Path
) -> None:
    first, second = places(tmp_path, "a b", "c")
    script = 'cat "$1/deep/file" "$2/file"; touch "$1/w" || echo no'
    binds = [Bind("/a b", str(first), volume), Bind("/c/deep", str(second / "deep"), volume)]
    words = Command.of("sh", "-c", script, "x", str(first), str(second / "deep"))
    program = runner.start(words, environment={}, binds=binds)
    assert program.wait(timeout_s=60) == 0
    assert read_all(program) == b"old a bold cno\n"
    assert not is_mounted(volume.path)


def test_a_whole_volume_is_seen_at_its_mount(runner: Runner, volume: Volume, tmp_path: Path) -> None:
    places(tmp_path, "c")
    top = tmp_path / "place"
    words = Command.of("cat", str(top / "c" / "deep" / "file"))
    program = runner.start(words, environment={}, binds=[Bind("/", str(top), volume)])
    assert program.wait(timeout_s=60) == 0
    assert read_all(program) == b"old c"


def test_a_killed_program_leaves_no_mount(runner: Runner, volume: Volume, tmp_path: Path) -> None:
    binds = [Bind("/c", str(tmp_path / "place" / "c"), volume)]
    program = runner.start(Command.of("sh", "-c", "echo $$; exec sleep 60"), environment={}, binds=binds)
    pid = int(program.read(timeout_s=60))
    assert is_mounted(volume.path)
    assert volume.path not in Path("/proc/self/mountinfo").read_text()
    os.kill(pid, 9)
    wait_until(lambda: not is_mounted(volume.path), what="the end of the mount")


@pytest.mark.parametrize("path", ["/link", "/link/ssh", "/nothing"])
def test_a_path_that_leads_out_of_the_snapshot_is_refused(
    runner: Runner, volume: Volume, path: str, tmp_path: Path
) -> None:
    """Whoever owns a folder of the source may put a link in its place before the snapshot is taken."""
    binds = [Bind(path, str(tmp_path / "place" / "c"), volume)]
    with pytest.raises(PlatformRefused) as caught:
        runner.start(Command.of("true"), environment={}, binds=binds)
    assert "snapshot" in str(caught.value) + caught.value.detail


def test_a_volume_that_is_gone_is_refused(runner: Runner, tmp_path: Path) -> None:
    volume = Volume("/dev/mapper/nobody-knows-it", "ext4", "ro,noload")
    with pytest.raises(PlatformRefused):
        runner.start(Command.of("true"), environment={}, binds=[Bind("/", str(tmp_path), volume)])
