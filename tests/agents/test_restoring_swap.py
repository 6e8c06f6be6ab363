"""The swap of a restore, as both shells make it: wherever it dies, all is old or all is new."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.restoring_ground import HOSTILE_NAMES, SHELLS, Place, picture
from tests.live.machine import command

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a restore is root's work")

# The tools that the swap uses, one process each: before and after each of them somebody may die.
TOOLS = ("mkdir", "mv", "sync", "stat", "cat", "rm", "touch")


@pytest.fixture(params=SHELLS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, request.param)


def make_both(place: Place) -> list[str]:
    """Three places: a folder that is there, a file that is not, and one whose folders are missing too."""
    for top in (place.new, place.destination):
        (top / "data" / "sub").mkdir(parents=True)
        (top / "data" / "sub" / "file").write_text(top.name)
    (place.destination / "data" / "only here").write_text("old")
    (place.new / "alone").write_text("new")
    (place.new / "far" / "away").mkdir(parents=True)
    (place.new / "far" / "away" / "file").write_text("new")
    return ["data", "alone", "far/away/file"]


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


@pytest.fixture
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place with a folder that has a project quota of its own: on the same mount, and nothing can be
    renamed into it."""
    image, ground = tmp_path / "image", tmp_path / "ground"
    image.touch()
    os.truncate(image, 320 * 1024 * 1024)
    ground.mkdir()
    command("mkfs.xfs", "-q", image)
    command("mount", "-o", "loop", image, ground)
    try:
        place = Place(ground, request.param)
        folder = place.destination / "home" / "project"
        folder.mkdir(parents=True)
        (folder / "file").write_text("old")
        command("chattr", "-p", "7", "+P", folder)
        (place.new / "home" / "project" / "fresh").mkdir(parents=True)
        for name in ("file", "fresh/file"):
            (place.new / "home" / "project" / name).write_text("new")
        yield place
        assert place.back() == 0
        assert picture(folder).keys() == {b"file"}, "nothing was copied, and nothing of ours lies there"
    finally:
        command("umount", ground)


@pytest.mark.parametrize("project", SHELLS, indirect=True)
def test_nothing_is_copied_to_where_nothing_can_be_renamed(project: Place) -> None:
    where = str(project.destination / "home" / "project")
    os.utime(where, ns=(5, 1_000_000_007))
    assert project.merge("replace") == (0, 0, 0, 0, 2)
    for item in ("home/project/fresh", "home/project/file"):
        words = (project.staging, project.identity, project.destination)
        assert project.refusal("reach", *words, items=["home/new", item]) == ["apart", where]
        assert project.refusal("exact", *words, items=[item]) == ["apart", where]
    assert project.refusal("clear", *words, items=["home/project/file"]) == ["apart", where]
    assert (Path(where) / "file").read_text() == "old"
    assert Path(where).stat().st_mtime_ns == 1_000_000_007


@pytest.fixture
def layered(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place on the layers of a container, with a folder and a file of the lower one."""
    for name in ("upper", "work", "ground", "lower/data/folder"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("folder/file", "file"):
        (tmp_path / "lower" / "data" / name).write_text("old")
    options = ",".join(f"{name}dir={tmp_path}/{name}" for name in ("lower", "upper", "work"))
    command("mount", "-t", "overlay", "overlay", "-o", options, tmp_path / "ground")
    try:
        place = Place(tmp_path / "ground", request.param)
        place.destination = tmp_path / "ground" / "data"
        yield place
        assert place.back() == 0
        assert (place.destination / "folder" / "file").read_text() == "old"
    finally:
        command("umount", tmp_path / "ground")


@pytest.mark.parametrize("layered", SHELLS, indirect=True)
def test_a_folder_of_a_lower_layer_is_never_moved(layered: Place) -> None:
    """A rename of it is a copy: cut off, half of it would be put back over what was there."""
    for name in ("folder", "fresh"):
        (layered.new / name).mkdir()
        (layered.new / name / "file").write_text("new")
    (layered.new / "file").write_text("new")
    before = picture(layered.destination)
    assert layered.exact("folder").returncode == 3
    assert picture(layered.destination) == before
    assert layered.exact("file", "fresh").returncode == 0, "the others are renamed"
    assert (layered.destination / "fresh" / "file").read_text() == "new"


@pytest.mark.parametrize("layered", SHELLS, indirect=True)
def test_a_folder_of_a_lower_layer_has_failed_in_a_merge(layered: Place) -> None:
    for name in ("folder", "file"):
        (layered.new / name).write_text("new")
    assert layered.merge("replace") == (1, 0, 0, 0, 1)
    assert (layered.destination / "file").read_text() == "new"


def test_nothing_that_is_mounted_is_swapped_away(place: Place) -> None:
    for name in ("a", "b mount\tpoint", "c\\040d", "e 1"):
        inner = place.destination / name / "inner"
        inner.mkdir(parents=True)
        (place.new / name).write_text("new")
        command("mount", "-t", "tmpfs", "none", inner)
        try:
            (inner / "precious").write_text("precious")
            assert place.exact(name).returncode == 3
            assert (inner / "precious").read_text() == "precious"
        finally:
            command("umount", inner)
    assert place.back() == 0


def test_what_nobody_may_change_goes_too(place: Place) -> None:
    items = make_both(place)
    command("chattr", "+i", place.destination / "data" / "only here")
    assert place.exact(*items).returncode == 0
    if place.is_busybox:  # Debian's has no chattr: it stays owed
        assert place.back() != 0
        command("chattr", "-R", "-i", place.staging)
    assert place.back() == 0
    assert not place.staging.exists()


def test_staging_with_a_mount_in_it_is_not_removed(place: Place) -> None:
    inner = place.staging / "old" / "inner"
    inner.mkdir()
    command("mount", "-t", "tmpfs", "none", inner)
    try:
        (inner / "precious").write_text("precious")
        assert place.back() != 0
        assert (inner / "precious").exists()
    finally:
        command("umount", inner)
    assert place.back() == 0


@pytest.mark.parametrize("name", ["/etc", "/", "/srv/.hotfleet-x", "/srv/hotfleet-a-b.restore"])
def test_the_undo_removes_nothing_else(place: Place, name: str) -> None:
    assert place.call("back", name).returncode == 1


@pytest.fixture
def unsafe(place: Place) -> Path:
    folder = place.destination / "of a user"
    folder.mkdir()
    os.chown(folder, 1234, 1234)
    return folder


def test_where_staging_may_be(place: Place, unsafe: Path) -> None:
    _, base, identity, existing, free, safe, _ = place.look(unsafe / "missing" / "far")
    assert (base, identity, existing, safe) == ("/", place.identity, str(unsafe), "no")
    assert int(free) > 0
    inner = unsafe / "inner"
    inner.mkdir()
    command("mount", "-t", "tmpfs", "none", inner)
    try:
        assert place.look(inner)[1] == "", "what lies below a folder of others may be moved by them"
    finally:
        command("umount", inner)
    command("mount", "-t", "tmpfs", "none", place.destination)
    try:
        assert place.look(place.destination)[1] == str(place.destination)
        os.chown(place.destination, 1234, 0)
        assert place.look(place.destination)[1] == ""
        command("mount", "-o", "remount,ro", place.destination)
        assert place.refusal("look", place.destination) == ["read-only", str(place.destination)]
    finally:
        command("umount", place.destination)


def test_removing_first_is_done_only_below_safe_parents(place: Place, unsafe: Path) -> None:
    (unsafe / "file").write_text("old")
    words = ("clear", place.staging, place.identity, place.destination)
    assert place.refusal(*words, items=["of a user/file"]) == ["moved", str(unsafe / "file")]
    assert (unsafe / "file").exists()
    place.run(*words, items=["of a user", "missing"])
    assert not unsafe.exists()


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


def test_two_restores_of_overlapping_places(place: Place) -> None:
    base = Path("/run/hotfleet") if os.path.ismount("/run") else Path("/dev/shm/hotfleet")
    other = base / "hotfleet-partatest-other"
    other.mkdir(parents=True)
    try:
        (other / "target").write_text("/srv/a\\0040b\n")
        for path in ("/srv/a b", "/srv", "/", "/srv/a b/c"):
            assert place.refusal("claim", path, "/run/hotfleet/mine") == ["claimed", "/srv/a b"]
        for path in ("/srv/a bc", "/srv/c"):
            place.run("claim", path, "/run/hotfleet/mine")
        place.run("claim", "/srv/a b", other)
    finally:
        shutil.rmtree(other)
