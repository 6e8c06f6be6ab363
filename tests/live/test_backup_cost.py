"""What a backup must not do twice."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from agents.events import CommandRan
from agents.facts import mounts
from tests.live.flows import Console
from tests.live.ground import Device


def test_facts_are_read_again_only_when_something_was_removed(device: Device, tmp_path: Path) -> None:
    console = Console(device, tmp_path)
    source = device.btrfs / "data"
    source.mkdir()
    (source / "file").write_text("content")
    foreign = leave_snapshots(device, "somebody")
    console.back_up(source)
    assert count_reads(console) == 1
    assert foreign.exists()
    dead = leave_snapshots(device, console.id)
    console.events.clear()
    console.back_up(source)
    assert count_reads(console) == 2
    assert not dead.exists()


def leave_snapshots(device: Device, console_id: str) -> Path:
    """What a run leaves behind whose device was switched off: its directory with a snapshot."""
    directory = device.btrfs / f".hotfleet-{console_id}-{secrets.token_hex(16)}"
    directory.mkdir()
    subprocess.run(
        ["btrfs", "subvolume", "snapshot", "-r", device.btrfs, directory / "0"],
        check=True,
        capture_output=True,
    )
    return directory


def count_reads(console: Console) -> int:
    line = mounts.MOUNTS.shell_line()
    return sum(isinstance(event, CommandRan) and event.line == line for event in console.events)
