"""Where a restore may work: what cannot be renamed, what is mounted, whose the folders are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.restoring_ground import SHELLS, Place, make_both, picture
from tests.live.machine import command

pytestmark = pytest.mark.usefixtures("needs_root")  # a restore is root's work


@pytest.fixture(params=SHELLS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Place(tmp_path, request.param)


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


def test_two_restores_of_overlapping_places(place: Place) -> None:
    base = Path("/run/hotfleet") if os.path.ismount("/run") else Path("/dev/shm/hotfleet")
    other = base / f"hotfleet-partatest-{os.getpid()}"
    other.mkdir(parents=True)
    try:
        (other / "target").write_text("/srv/a\\0040b\n")
        for path in ("/srv/a b", "/srv", "/srv/a b/c"):
            assert place.refusal("claim", path, "/run/hotfleet/mine") == ["claimed", "/srv/a b"]
        # Everything is below it, also where the restore of another test works at this moment.
        assert place.refusal("claim", "/", "/run/hotfleet/mine")[0] == "claimed"
        for path in ("/srv/a bc", "/srv/c"):
            place.run("claim", path, "/run/hotfleet/mine")
        place.run("claim", "/srv/a b", other)
    finally:
        shutil.rmtree(other)
