"""What a script prints is heard up to a limit, in the shells of devices."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agents.commands import Command
from agents.hearing import MOST_BYTES, hear_at_most


@pytest.fixture(params=["dash", "busybox sh"])
def shell(request: pytest.FixtureRequest) -> list[str]:
    return str(request.param).split()


def heard(shell: list[str], script: str, file: Path) -> subprocess.CompletedProcess[bytes]:
    command = hear_at_most(Command.of(*shell, "-c", script), str(file))
    return subprocess.run([*shell, *command.argv[1:]], capture_output=True, timeout=60, check=False)


def test_little_is_heard_whole_with_its_status(shell: list[str], tmp_path: Path) -> None:
    done = heard(shell, "printf 'a\\nb'; printf c >&2; exit 3", tmp_path / "ended")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"a\nb", b"c")
    assert not (tmp_path / "ended").exists()


@pytest.mark.parametrize("to", [1, 2])
def test_who_prints_very_much_comes_to_its_end(shell: list[str], tmp_path: Path, to: int) -> None:
    script = f'{{ head -c 5000000 /dev/zero; }} >&{to}; : >"{tmp_path}/end"; exit 7'
    done = heard(shell, script, tmp_path / "ended")
    assert done.returncode == 7 and (tmp_path / "end").exists()
    assert sorted([len(done.stdout), len(done.stderr)]) == [0, MOST_BYTES]


def test_who_is_killed_did_not_succeed(shell: list[str], tmp_path: Path) -> None:
    assert heard(shell, "kill -KILL $$", tmp_path / "ended").returncode == 137


def test_only_three_descriptors_are_open_in_it(shell: list[str], tmp_path: Path) -> None:
    """A hold looks for a free one."""
    done = heard(
        shell, "for each in 3 4 5 9; do [ ! -e /proc/self/fd/$each ] || exit 1; done", tmp_path / "e"
    )
    assert done.returncode == 0
