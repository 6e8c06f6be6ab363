"""A symlink-swapping user while the swap of a restore works: nothing outside of their own folder changes.

The program of the swap is all that touches a destination (restic writes in staging, where no user can go). By
default there are 60 rounds; HOTFLEET_CAMPAIGN=full runs 1,000."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agents.restoring.staging import read_program
from tests.agents.restoring_attacker import USER, Attacker
from tests.agents.restoring_ground import NAME, SHELLS, Place, picture

pytestmark = pytest.mark.usefixtures("needs_root")  # a restore is root's work

ROUNDS = 1000 if os.environ.get("HOTFLEET_CAMPAIGN") == "full" else 60
WAYS = ("skip", "replace", "keep-both", "exact")


def make_home(place: Place) -> Path:
    home = place.folder / "home"
    (home / "a" / "b" / "c").mkdir(parents=True)
    for path in (home, home / "a", home / "a" / "b", home / "a" / "b" / "c"):
        os.chown(path, USER, USER)
        path.chmod(0o777)
    return home


def make_victim(place: Place) -> Path:
    victim = place.folder / "victim"
    for folder in ("", "a", "a/b", "a/b/c", "b", "b/c", "c"):
        (victim / folder).mkdir(exist_ok=True)
        (victim / folder / "file").write_text("precious")
        (victim / folder / "type").mkdir(exist_ok=True)
        (victim / folder / "type" / "precious").write_text("precious")
    return victim


def fill(new: Path) -> None:
    for folder in ("", "b", "b/c"):
        (new / folder).mkdir(exist_ok=True)
        for name in ("file", "fresh", "type"):
            (new / folder / name).write_text("ours")
    (new / "c").mkdir()
    for name in ("file", "fresh"):
        (new / "c" / name).write_text("ours")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    return Place(tmp_path, "dash")


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_nothing_outside_changes(tmp_path: Path, shell: str) -> None:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o711)
    place = Place(tmp_path, shell)
    home, victim = make_home(place), make_victim(place)
    place.destination = home / "a" / "b"
    before, endings = picture(victim), dict.fromkeys(WAYS, 0)
    refused = 0
    with Attacker(home, victim):
        for number in range(ROUNDS):
            way = WAYS[number % len(WAYS)]
            fill(place.new)
            status = swap(place, way)
            endings[way] += status == 0
            refused += status == 3
            assert status in (0, 3), way
            assert picture(victim) == before, way
            renew(place)
    assert refused > 0, "the attack never hit"
    assert sum(endings.values()) > 0, "no restore ever went through"


def swap(place: Place, way: str) -> int:
    if way == "exact":
        return place.exact("b", "file", "c").returncode
    words = ("merge", place.staging, place.identity, way, "x", place.program, place.destination)
    return place.call(*words).returncode


def renew(place: Place) -> None:
    """Remove staging as the undo does, which meets the attacker too, and make a new one."""
    for _ in range(200):
        if place.back() == 0:
            break
    else:  # the user holds a name of theirs in the way for ever: nothing is lost, and nobody else is hurt
        subprocess.run(["rm", "-rf", place.staging], check=True)
    for name in ("new", "old", "owed", "renamed", "undone"):
        (place.staging / name).mkdir(parents=True)
    place.staging.chmod(0o700)


def test_the_attack_is_one(place: Place) -> None:
    """The control: a restore that goes by paths, as tools do that know no danger, is sent to the victim."""
    home, victim = make_home(place), make_victim(place)
    before = picture(victim)
    with Attacker(home, victim):
        for _ in range(300):
            for name in ("file", "c/file"):
                path = home / "a" / "b" / name
                words = ["sh", "-c", 'echo ours >"$1"', "sh", str(path)]
                subprocess.run(words, check=False, stderr=subprocess.DEVNULL)
            if picture(victim) != before:
                return
    raise AssertionError("the attacker never hit a tool that follows links")


def test_the_names_are_those_of_a_run() -> None:
    assert NAME.startswith(".hotfleet-") and b".hotfleet-*-*.restore" in read_program()
