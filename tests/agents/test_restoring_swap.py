"""The swap of a restore, as both shells make it: wherever it dies, all is old or all is new."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.agents.restoring_ground import HOSTILE_NAMES, SHELLS, Place, make_both, picture
from tests.live.machine import command

pytestmark = pytest.mark.usefixtures("needs_root")  # a restore is root's work

# The tools that the swap uses, one process each: before and after each of them somebody may die.
TOOLS = ("mkdir", "mv", "sync", "stat", "cat", "rm", "touch")


@pytest.fixture(params=SHELLS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, request.param)


def test_each_thing_becomes_what_the_restore_point_holds(place: Place) -> None:
    items = make_both(place)
    os.chown(place.new / "far", 1234, 1)
    wanted = picture(place.new)
    done = place.exact(*items)
    assert (done.returncode, done.stdout) == (0, b".")
    assert picture(place.destination) == wanted, "the very files, with their folders"
    assert place.back() == 0
    assert picture(place.destination) == wanted
    assert not place.staging.exists()
    assert place.back() == 0, "it may run twice"


def test_names_of_any_bytes_are_swapped(place: Place) -> None:
    for top in (place.new, place.destination):
        for name in HOSTILE_NAMES:
            (top / os.fsdecode(name)).write_text(top.name)
    assert len(place.exact(*HOSTILE_NAMES).stdout) == len(HOSTILE_NAMES)
    assert place.back() == 0
    assert {each.read_text() for each in place.destination.iterdir()} == {"new"}


def cut_after(place: Place, calls: int) -> None:
    """Let the program and its tools be killed at the given call of a tool, before or after it worked."""
    tools = place.folder / "deadly"
    shutil.rmtree(tools, ignore_errors=True)
    tools.mkdir()
    counter = place.folder / "counter"
    counter.write_text("")
    for tool in TOOLS:
        real = shutil.which(tool, path=place.environment["PATH"])
        script = tools / tool
        script.write_text(
            f"#!/bin/sh\nprintf . >>{counter}\ncount=$(/usr/bin/wc -c <{counter})\n"
            f'[ "$count" -lt {calls} ] && exec {real} "$@"\n'
            f'[ $(({calls} % 2)) = 0 ] || {real} "$@"\n'
            "read -r _ _ _ _ group _ </proc/self/stat; kill -9 -$group\n"
        )
        script.chmod(0o755)
    place.environment["PATH"] = f"{tools}:{place.environment['PATH']}"


def run_in_group(place: Place, *words: str, items: list[str]) -> int:
    stdin = b"".join(item.encode() + b"\n" for item in items)
    shell = place.environment["PATH"].split(":")[-1] + "/sh" if place.is_busybox else "dash"
    child = subprocess.Popen(
        [shell, str(place.program), *words],
        stdin=subprocess.PIPE,
        env=place.environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    child.communicate(stdin, timeout=60)
    return child.returncode


def test_wherever_it_dies_all_is_old_or_all_is_new(place: Place) -> None:
    items = make_both(place)
    original = place.folder / "original"
    subprocess.run(["cp", "-a", place.destination, original], check=True)
    staged = place.folder / "staged"
    subprocess.run(["cp", "-a", place.staging, staged], check=True)
    path, states, calls = place.environment["PATH"], [], 0
    while calls < 200:
        calls += 1
        cut_after(place, calls)
        status = run_in_group(
            place, "exact", str(place.staging), place.identity, str(place.destination), items=items
        )
        place.environment["PATH"] = path
        assert place.back() == 0
        assert not place.staging.exists()
        is_new = (place.destination / "alone").exists()
        states.append(is_new)
        assert_state(place.destination, is_new=is_new)
        if status == 0:
            break
        for source, target in ((original, place.destination), (staged, place.staging)):
            subprocess.run(["rm", "-rf", target], check=True)
            subprocess.run(["cp", "-a", source, target], check=True)
    assert status == 0, "it ended by itself at last"
    assert len(states) > 15 and states[0] is False and states == sorted(states)


def test_wherever_a_merge_dies_each_thing_is_old_or_new(place: Place) -> None:
    for name, is_folder in (("file", False), ("becomes a folder", True)):
        (place.destination / name).write_text("old")
        (place.new / name).mkdir() if is_folder else (place.new / name).write_text("new")
    (place.new / "becomes a folder" / "file").write_text("new")
    (place.destination / "becomes a file").mkdir()
    (place.destination / "becomes a file" / "file").write_text("old")
    (place.new / "becomes a file").write_text("new")
    original, staged = place.folder / "original", place.folder / "staged"
    subprocess.run(["cp", "-a", place.destination, original], check=True)
    subprocess.run(["cp", "-a", place.staging, staged], check=True)
    path, seen = place.environment["PATH"], set()
    words = ["merge", str(place.staging), place.identity, "replace", "x", str(place.program)]
    for calls in range(1, 200):
        cut_after(place, calls)
        status = run_in_group(place, *words, str(place.destination), items=[])
        place.environment["PATH"] = path
        assert place.back() == 0
        assert not place.staging.exists()
        told = {file.read_text() for file in place.destination.rglob("*") if file.is_file()}
        assert len([file for file in place.destination.rglob("*") if file.is_file()]) == 3, calls
        seen.add(frozenset(told))
        if status == 0:
            break
        for source, target in ((original, place.destination), (staged, place.staging)):
            subprocess.run(["rm", "-rf", target], check=True)
            subprocess.run(["cp", "-a", source, target], check=True)
    assert status == 0
    assert seen == {frozenset({"old"}), frozenset({"old", "new"}), frozenset({"new"})}


def assert_state(destination: Path, *, is_new: bool) -> None:
    assert (destination / "data" / "sub" / "file").read_text() == ("new" if is_new else "destination")
    assert (destination / "data" / "only here").exists() is not is_new
    assert (destination / "far" / "away" / "file").exists() is is_new
    assert (destination / "far").exists() is is_new


def test_wherever_the_undo_dies_it_ends_the_next_time(place: Place) -> None:
    items = make_both(place)
    original = place.folder / "original"
    subprocess.run(["cp", "-a", place.destination, original], check=True)
    assert place.exact(*items).returncode == 0
    (place.staging / "kept").rename(place.staging / "owed")  # as if it had died just before the last step
    staged, swapped = place.folder / "staged", place.folder / "swapped"
    subprocess.run(["cp", "-a", place.staging, staged], check=True)
    subprocess.run(["cp", "-a", place.destination, swapped], check=True)
    path = place.environment["PATH"]
    for calls in range(1, 60):
        cut_after(place, calls)
        words = [str(place.staging)]
        status = run_in_group(place, "back", *words, items=[])
        place.environment["PATH"] = path
        assert place.back() == 0
        assert_state(place.destination, is_new=False)
        assert not place.staging.exists()
        if status == 0:
            return
        for source, target in ((swapped, place.destination), (staged, place.staging)):
            subprocess.run(["rm", "-rf", target], check=True)
            subprocess.run(["cp", "-a", source, target], check=True)
    raise AssertionError("the undo never ended by itself")


@pytest.mark.parametrize("had", [False, True])
def test_what_is_made_after_the_undo_stays(place: Place, *, had: bool) -> None:
    """The removal of staging may take several passes, and the device works on between them."""
    for name in ("file", "folder"):
        (place.new / name).mkdir() if name == "folder" else (place.new / name).write_text("new")
        if had:
            (place.destination / name).write_text("old")
    assert place.exact("file", "folder").returncode == 0
    (place.staging / "kept").rename(place.staging / "owed")
    inner = place.staging / "new" / "inner"
    inner.mkdir()
    command("mount", "-t", "tmpfs", "none", inner)  # what keeps the removal from ending
    try:
        assert place.back() != 0
        assert {each.name for each in place.destination.iterdir()} == ({"file", "folder"} if had else set())
        for name in ("file", "folder"):
            (place.destination / name).unlink(missing_ok=True)
            (place.destination / name).mkdir()
            (place.destination / name / "later").write_text("later")
        assert place.back() != 0
    finally:
        command("umount", inner)
    assert place.back() == 0
    assert not place.staging.exists()
    for name in ("file", "folder"):
        assert (place.destination / name / "later").read_text() == "later"


def test_a_swap_that_fails_half_way_is_undone_by_the_undo(place: Place) -> None:
    items = make_both(place)
    victim = place.folder / "victim"
    victim.mkdir()
    (place.new / "trap").mkdir()
    (place.new / "trap" / "file").write_text("new")
    (place.destination / "trap").symlink_to(victim)
    before = picture(place.destination)
    done = place.exact(*items, "trap/file")
    assert done.returncode == 3
    assert place.back() == 0
    assert picture(place.destination) == before
    assert list(victim.iterdir()) == []


@pytest.mark.parametrize("name", ["/etc", "/", "/srv/.hotfleet-x", "/srv/hotfleet-a-b.restore"])
def test_the_undo_removes_nothing_else(place: Place, name: str) -> None:
    assert place.call("back", name).returncode == 1


def test_what_lacks_is_named(place: Place) -> None:
    make_both(place)
    (place.new / "lead").symlink_to("/etc")
    for name in ("gone", "far/gone", "lead/passwd", "alone/x"):
        assert place.refusal("lack", place.staging, items=["data", name]) == ["lacking", name]
    place.run("lack", place.staging, items=["data", "far/away/file", "lead"])


def test_privileges_are_taken_away(place: Place) -> None:
    sub = place.new / "sub"
    sub.mkdir()
    sub.chmod(0o2775)
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2711), ("plain", 0o755)):
        (sub / name).write_text("x")
        (sub / name).chmod(mode)
    os.mknod(sub / "device", 0o600 | 0o020000, os.makedev(1, 3))
    (sub / "link").symlink_to("setuid")
    os.utime(sub, ns=(5, 7_000_000_001))
    done = place.call("strip", place.staging)
    assert (done.returncode, done.stdout) == (0, b"...")
    modes = {each.name: each.lstat().st_mode & 0o7777 for each in sub.iterdir()}
    assert modes == {"setuid": 0o755, "setgid": 0o711, "plain": 0o755, "link": 0o777}
    assert (sub.stat().st_mode & 0o7777, sub.stat().st_mtime_ns) == (0o2775, 7_000_000_001)
