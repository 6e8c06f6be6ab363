"""The directory for streams: found and removed whatever others put beside it, or mounted in it."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest

from agents import scratch
from agents.commands import Command
from agents.facts.wire import split_fields
from agents.own_places import SCRATCH_PARENT
from agents.snapshots.traces import find_command

pytestmark = pytest.mark.usefixtures("needs_root")  # owners and mounts
SHELLS = pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh")], ids=["dash", "busybox"])


def run(shell: tuple[str, ...], command: Command, *before: str) -> subprocess.CompletedProcess[bytes]:
    _, option, source, *words = command.argv
    return subprocess.run(
        [*before, *shell, option, source, *words], capture_output=True, timeout=120, check=False
    )


def spent_s() -> float:
    """Return how long processors worked for our children. What else the machine does is not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def at(command: Command, parent: Path) -> Command:
    """The same command for another parent than the one of a device."""
    argv = tuple(str(parent) if word == SCRATCH_PARENT else word for word in command.argv)
    return Command(argv)


@SHELLS
def test_names_that_others_made_are_none_of_ours_and_cost_nothing(
    tmp_path: Path, shell: tuple[str, ...]
) -> None:
    """Any user may make such names in a sticky directory, or at the top of a subvolume of his."""
    for number in range(5000):
        path = tmp_path / f".hotfleet-c-{number}"
        path.mkdir()
        os.chown(path, 12345, 12345)
    (tmp_path / ".hotfleet-c-r").mkdir()
    (tmp_path / ".hotfleet-c-link").symlink_to("/")
    for command in (at(scratch.FIND, tmp_path), find_command((str(tmp_path),))):
        began = spent_s()
        found = run(shell, command)
        assert split_fields(found.stdout, 2) == [("hotfleet-c-r", str(tmp_path / ".hotfleet-c-r"))]
        assert spent_s() - began < 5


@SHELLS
def test_what_is_mounted_inside_keeps_its_files(tmp_path: Path, shell: tuple[str, ...]) -> None:
    """The owner of a stream works in it, and may have mounted something there."""
    ours, theirs = tmp_path / ".hotfleet-c-r", tmp_path / "theirs"
    for each in (ours, ours / "inside", theirs):
        each.mkdir()
    (theirs / "file").touch()
    mounted = f'mount -t tmpfs none "{ours}/inside" && : >"{ours}/inside/file" && "$@"; ls "{ours}/inside"'
    removed = run(
        shell, at(scratch.remove_command(str(ours)), tmp_path), "unshare", "-m", "sh", "-c", mounted, "sh"
    )
    assert removed.stdout == b"file\n"


@SHELLS
def test_it_is_removed_once_and_again_and_nothing_else_is(tmp_path: Path, shell: tuple[str, ...]) -> None:
    ours = tmp_path / ".hotfleet-c-r"
    (ours / "sqlite.abc").mkdir(parents=True)
    remove = at(scratch.remove_command(str(ours)), tmp_path)
    assert run(shell, remove).returncode == 0 and not ours.exists()
    assert run(shell, remove).returncode == 0
    other = tmp_path / ".hotfleet-c-r" / ".hotfleet-c-r"
    other.mkdir(parents=True)
    assert run(shell, at(scratch.remove_command(str(other)), tmp_path)).returncode == 1
    assert other.exists()
