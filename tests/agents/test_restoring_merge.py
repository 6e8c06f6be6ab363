"""The merge of a restore, as both shells make it: what is in the way, by each rule; names of any bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.restoring_ground import HOSTILE_NAMES, SHELLS, Place, picture
from tests.live.machine import command

pytestmark = pytest.mark.usefixtures("needs_root")  # a restore is root's work

KINDS = ("file", "folder", "full", "link", "broken")


@pytest.fixture(params=SHELLS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path, request.param)
    yield place
    assert place.back() == 0
    assert not place.staging.exists()
    assert not list(tmp_path.rglob("*.link"))


def put(path: Path, kind: str, text: str) -> None:
    if kind == "file":
        path.write_text(text)
    elif kind in ("folder", "full"):
        path.mkdir()
        if kind == "full":
            (path / text).write_text(text)
    else:
        path.symlink_to("/etc" if kind == "link" else "/nowhere")


def told(path: Path) -> str:
    """Return what a thing is, and whose."""
    if path.is_symlink():
        return "link" if path.exists() else "broken"
    if path.is_dir():
        return "+".join(sorted(each.name for each in path.iterdir())) or "empty"
    return path.read_text() if path.exists() else "nothing"


def fill_both(place: Place) -> None:
    for new in KINDS:
        for old in KINDS:
            put(place.new / f"{new} on {old}", new, "new")
            put(place.destination / f"{new} on {old}", old, "old")
        put(place.new / f"{new} alone", new, "new")
    (place.destination / "other").write_text("old")


def is_both_folders(new: str, old: str) -> bool:
    return {new, old} <= {"folder", "full"}


def of_kind(kind: str, text: str) -> str:
    return {"file": text, "folder": "empty", "full": text}.get(kind, kind)


@pytest.mark.parametrize("conflict", ["skip", "replace", "keep-both"])
def test_each_thing_that_is_in_the_way(place: Place, conflict: str) -> None:
    fill_both(place)
    replaced, kept, renamed, skipped, failed = place.merge(conflict)
    conflicts = 0
    for new in KINDS:
        assert told(place.destination / f"{new} alone") == of_kind(new, "new")
        for old in KINDS:
            path = place.destination / f"{new} on {old}"
            copy = path.with_name(f"{path.name} (2026-11-22 14.02)")
            if is_both_folders(new, old):
                parts = {of_kind(new, "new"), of_kind(old, "old")} - {"empty"}
                assert told(path) == ("+".join(sorted(parts)) or "empty")
                assert not copy.exists()
                continue
            conflicts += 1
            assert told(path) == (of_kind(new, "new") if conflict == "replace" else of_kind(old, "old"))
            wanted = of_kind(new, "new") if conflict == "keep-both" else "nothing"
            assert told(copy) == wanted, path
    assert (place.destination / "other").read_text() == "old"
    assert conflicts == len(KINDS) ** 2 - 4
    assert (replaced, renamed) == (
        conflicts if conflict == "replace" else 0,
        conflicts if conflict == "keep-both" else 0,
    )
    assert kept == (0 if conflict == "replace" else conflicts)
    assert (skipped, failed) == (conflicts if conflict == "skip" else 0, 0)


@pytest.mark.parametrize("conflict", ["skip", "replace", "keep-both"])
def test_names_of_any_bytes(place: Place, conflict: str) -> None:
    for top in (place.new, place.destination):
        for name in HOSTILE_NAMES:
            (top / "deep" / os.fsdecode(name)).parent.mkdir(exist_ok=True)
            (top / "deep" / os.fsdecode(name)).write_text(top.name)
            (top / "folders" / os.fsdecode(name)).mkdir(parents=True)
            (top / "folders" / os.fsdecode(name) / "file").write_text(top.name)
    for name in HOSTILE_NAMES:
        (place.new / os.fsdecode(name)).write_text("new")
    replaced, kept, renamed, skipped, failed = place.merge(conflict)
    assert failed == 0
    deep = {os.fsencode(each.name): each.read_text() for each in (place.destination / "deep").iterdir()}
    in_the_way = "new" if conflict == "replace" else "destination"
    assert {name: deep[name] for name in HOSTILE_NAMES} == dict.fromkeys(HOSTILE_NAMES, in_the_way)
    for name in HOSTILE_NAMES:
        assert (place.destination / os.fsdecode(name)).read_text() == "new"
        assert (place.destination / "folders" / os.fsdecode(name) / "file").read_text() == in_the_way
    count = 2 * len(HOSTILE_NAMES)
    if conflict == "keep-both":
        assert (kept, renamed) == (count, count)
        copies = [name for name in deep if name not in HOSTILE_NAMES]
        assert len(copies) == len(HOSTILE_NAMES)
        assert all(deep[name] == "new" and b" (2026-11-22 14.02)" in name for name in copies)
        assert "\N{SNOWMAN}".encode() * 78 + b" (2026-11-22 14.02)" in copies, "no letter is cut in two"
        assert b"a.tar (2026-11-22 14.02).gz" in copies
        assert b".hidden (2026-11-22 14.02).txt" in copies
        assert b".hidden (2026-11-22 14.02)" in copies
    else:
        assert (replaced if conflict == "replace" else skipped) == count


def test_a_copy_takes_a_free_name(place: Place) -> None:
    (place.new / "a.txt").write_text("new")
    for name in ("a.txt", "a (2026-11-22 14.02).txt", "a (2026-11-22 14.02) 2.txt"):
        (place.destination / name).write_text("old")
    assert place.merge("keep-both")[2] == 1
    assert (place.destination / "a (2026-11-22 14.02) 3.txt").read_text() == "new"


def test_folders_that_exist_keep_their_owner_and_mode_and_new_ones_bring_theirs(place: Place) -> None:
    for top, mode, owner in ((place.new, 0o750, 1234), (place.destination, 0o711, 4321)):
        (top / "both").mkdir()
        os.chown(top / "both", owner, owner)
        (top / "both").chmod(mode)
    (place.new / "both" / "fresh").mkdir(mode=0o700)
    os.chown(place.new / "both" / "fresh", 1234, 1)
    os.utime(place.new / "both" / "fresh", ns=(5, 7_000_000_001))
    place.merge("replace")
    both, fresh = place.destination / "both", place.destination / "both" / "fresh"
    assert (both.stat().st_mode & 0o777, both.stat().st_uid) == (0o711, 4321)
    assert (fresh.stat().st_uid, fresh.stat().st_gid, fresh.stat().st_mtime_ns) == (1234, 1, 7_000_000_001)


def test_a_folder_that_is_mounted_there_is_not_written_to(place: Place) -> None:
    inner = place.destination / "a mount"
    inner.mkdir()
    (place.new / "a mount").mkdir()
    command("mount", "-t", "tmpfs", "none", inner)
    try:
        assert place.merge("replace") == (0, 0, 0, 0, 0), "an empty folder has nothing to lose"
        (place.new / "a mount").mkdir(parents=True)
        (place.new / "a mount" / "file").write_text("new")
        assert place.merge("replace")[4] == 1
        assert list(inner.iterdir()) == []
        (place.new / "a mount" / "file").unlink()
        (place.new / "a mount").rmdir()
        (place.new / "a mount").write_text("new")
        before = picture(place.destination)
        assert place.merge("replace")[4] == 1, "a file where something is mounted"
        assert picture(place.destination) == before
    finally:
        command("umount", inner)


def test_what_nobody_gave_account_of_has_failed(place: Place) -> None:
    """A device that cannot start processes any more loses nothing silently."""
    (place.new / "file").write_text("new")
    tools = place.folder / "broken"
    tools.mkdir()
    (tools / "mv").write_text("#!/bin/sh\nkill -9 $PPID\n")
    (tools / "mv").chmod(0o755)
    place.environment["PATH"] = f"{tools}:{place.environment['PATH']}"
    assert place.merge("skip")[4] == 1


def test_a_tree_that_is_too_deep_is_told(place: Place) -> None:
    deep = "/".join(["d"] * 220)
    for top in (place.new, place.destination):
        (top / deep).mkdir(parents=True)
    (place.new / deep / "file").write_text("new")
    assert place.merge("skip")[4] == 1


@pytest.mark.parametrize("end", ["link", "file", "folder"])
def test_the_destination_is_entered_without_following_links(place: Place, end: str) -> None:
    victim = place.folder / "victim"
    victim.mkdir()
    (place.new / "file").write_text("new")
    (place.folder / "lead").symlink_to(victim)
    where = place.folder / "lead" / ("" if end == "link" else end)
    words = ("merge", place.staging, place.identity, "replace", "x", place.program, str(where).rstrip("/"))
    assert place.refusal(*words)[0] == "moved"
    assert list(victim.iterdir()) == []
    assert place.refusal("look", str(where).rstrip("/")) == ["link", str(place.folder / "lead")]
