"""A restore in place, over SSH: what comes back is what was there, and nothing else changes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from agents.errors import AgentError, DeviceBusy, PlanRefused, RestoreTargetRefused
from agents.events import Event, PhaseStarted
from agents.restore import Conflict, Mode
from tests.live.flows import Console, assert_device_is_clean, picture_of
from tests.live.ground import Device, command
from tests.live.layers import layered
from tests.live.test_backup import fill


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def data(console: Console) -> Path:
    return fill_more(console.device.btrfs / "data")


def fill_more(folder: Path) -> Path:
    fill(folder)
    with (folder / "sub" / "sparse").open("wb") as file:
        file.seek(64 * 1024 * 1024)
        file.write(b"end")
    subprocess.run(["cp", "/bin/true", folder / "sub" / "capable"], check=True)
    command("setcap", "cap_net_raw+ep", folder / "sub" / "capable")
    os.mknod(folder / "sub" / "device", 0o600 | 0o020000, os.makedev(1, 3))
    command("setfacl", "-d", "-m", "u:1234:rwx", folder / "sub")
    command("setfacl", "-m", "g:4321:rx", folder)
    os.utime(folder / "sub", ns=(5, 1_500_000_000_000_000_001))
    os.utime(folder, ns=(5, 1_500_000_000_000_000_002))
    return folder


def manifest(folder: Path) -> tuple[object, ...]:
    """Return what the machine's own tools say of a tree: content, modes, owners, times, ACLs, attributes."""
    acl = subprocess.run(["getfacl", "-Rpn", "."], cwd=folder, capture_output=True, check=True).stdout
    words = ["getfattr", "-Rdhm-", "-e", "hex", "."]
    attributes = subprocess.run(words, cwd=folder, capture_output=True, check=True).stdout
    top = folder.lstat()
    said = [sorted(text.split(b"\n\n")) for text in (acl, attributes)]  # the tools list in no order
    return picture_of(folder), said, (top.st_mode, top.st_uid, top.st_gid, top.st_mtime_ns)


def test_a_folder_that_was_destroyed_is_exactly_what_it_was(console: Console, data: Path) -> None:
    before = manifest(data)
    (point,) = console.back_up(data).points
    (data / "sub" / "large").write_bytes(b"damaged")
    (data / "sub" / "empty").unlink()
    (data / "new since then").write_text("new")
    outcome = console.restore(point.restic_id, data.parent, None, names=["data"], mode=Mode.EXACT)
    assert (outcome.replaced, outcome.is_complete) == (1, True)
    assert manifest(data) == before
    assert (data / "sub" / "sparse").stat().st_blocks < 1024
    assert (data / "sub" / "large").stat().st_ino == (data / "sub" / "hard link").stat().st_ino
    assert_device_is_clean(console)
    subprocess.run(["rm", "-rf", data], check=True)
    outcome = console.restore(point.restic_id, data, None, mode=Mode.EXACT)
    assert (outcome.replaced, outcome.is_complete) == (0, True)
    assert manifest(data) == before
    assert_device_is_clean(console)


def test_privileges_come_only_with_the_whole_system(console: Console, data: Path) -> None:
    (point,) = console.back_up(data).points
    target = console.device.btrfs / "target"
    outcome = console.restore(point.restic_id, data, target, is_whole_system=False)
    assert outcome.is_complete
    wanted, got = picture_of(data), picture_of(target)
    assert set(wanted) - set(got) == {b"sub/device"}
    different = {name for name in got if got[name] != wanted[name]}
    assert different == {b"sub/empty", b"sub/capable"}
    assert (target / "sub" / "empty").stat().st_mode & 0o7777 == 0o751
    assert "security.capability" not in os.listxattr(target / "sub" / "capable")
    assert any("2 files came without" in sentence for sentence in console.sentences)


@pytest.mark.parametrize("mode", [Mode.EXACT, Mode.DIRECT])
def test_a_folder_becomes_what_another_one_was(console: Console, data: Path, mode: Mode) -> None:
    before = manifest(data)
    (point,) = console.back_up(data).points
    target = console.device.btrfs / "far" / "target"
    target.mkdir(parents=True)
    (target / "old").write_text("old")
    outcome = console.restore(point.restic_id, data, target, mode=mode)
    assert (outcome.replaced, outcome.is_complete) == (1 if mode is Mode.EXACT else 0, True)
    assert manifest(target) == before
    assert_device_is_clean(console)


def test_a_merge_by_each_rule(console: Console) -> None:
    data = console.device.btrfs / "data"
    for name in ("a.txt", "deep/b.txt", "deep/only in the point"):
        (data / name).parent.mkdir(exist_ok=True, parents=True)
        (data / name).write_text("point")
    (point,) = console.back_up(data).points
    (data / "deep" / "only in the point").unlink()
    (data / "deep" / "only here").write_text("here")
    for name in ("a.txt", "deep/b.txt"):
        (data / name).write_text("here")
    skipped = console.restore(point.restic_id, data, None)
    assert (skipped.kept, skipped.skipped, skipped.is_complete) == (2, 2, False)
    assert texts(data) == {
        "a.txt": "here", "deep/b.txt": "here", "deep/only in the point": "point", "deep/only here": "here",
    }  # fmt: skip
    both = console.restore(point.restic_id, data, None, names=["a.txt"], conflict=Conflict.KEEP_BOTH)
    assert (both.kept, both.renamed, both.is_complete) == (1, 1, True)
    assert texts(data)["a (2026-11-22 14.02).txt"] == "point"
    replaced = console.restore(point.restic_id, data, None, names=["a.txt"], conflict=Conflict.REPLACE)
    assert (replaced.replaced, replaced.is_complete) == (1, True)
    assert (texts(data)["a.txt"], texts(data)["deep/b.txt"]) == ("point", "here")
    assert_device_is_clean(console)


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_things_from_several_file_systems_return_to_their_places(console: Console) -> None:
    other = console.device.make_file_system("ext4", size_mb=64)
    data = [console.device.btrfs / "data", other / "data"]
    for folder in data:
        folder.mkdir()
        (folder / "file").write_text(str(folder))
    points = console.back_up(*data, fallback="accept-live").points
    ids = {point.restic_id for point in points}
    for folder in data:
        (folder / "file").write_text("damaged")
    if len(ids) == 1:
        console.restore(ids.pop(), "/", None, names=[str(each)[1:] for each in data], mode=Mode.EXACT)
    else:
        for point, folder in zip(points, data, strict=True):
            console.restore(point.restic_id, folder, None, mode=Mode.EXACT)
    assert [(folder / "file").read_text() for folder in data] == [str(folder) for folder in data]
    assert_device_is_clean(console)


def test_subvolumes_are_grounds_of_their_own(console: Console) -> None:
    inner = console.device.btrfs / "data" / "inner"
    inner.parent.mkdir()
    command("btrfs", "subvolume", "create", inner)
    for folder in (inner.parent, inner):
        (folder / "file").write_text("point")
    points = {point.source: point.restic_id for point in console.back_up(inner.parent).points}
    for folder in (inner.parent, inner):
        (folder / "file").write_text("damaged")
    (restic_id,) = points.values()
    with pytest.raises(RestoreTargetRefused, match="inner is a subvolume"):
        console.restore(restic_id, inner.parent, None, mode=Mode.EXACT)
    console.restore(restic_id, inner.parent, None, names=["file", "inner/file"], mode=Mode.EXACT)
    assert [(folder / "file").read_text() for folder in (inner.parent, inner)] == ["point", "point"]
    assert_device_is_clean(console)


def test_one_file_of_many_comes_alone(console: Console) -> None:
    data = console.device.btrfs / "data"
    for number in range(2000):
        path = data / f"{number % 40}" / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    (point,) = console.back_up(data).points
    subprocess.run(["rm", "-rf", data], check=True)
    outcome = console.restore(point.restic_id, data, None, names=["7/1007"])
    assert outcome.is_complete
    assert texts(data) == {"7/1007": "1007"}
    with pytest.raises(PlanRefused, match="nothing named"):
        console.restore(point.restic_id, data, None, names=["7/gone"])
    assert_device_is_clean(console)


@pytest.fixture
def point(console: Console) -> str:
    folder = console.device.btrfs / "data"
    folder.mkdir()
    (folder / "file").write_text("new")
    (folder / "large").write_bytes(os.urandom(30_000_000))
    return console.back_up(folder).points[0].restic_id


REFUSALS = {
    "file": "is not a folder",
    "link": "symbolic link",
    "/": "into / itself",
    "relative": "plain absolute path",
    "up": "plain absolute path",
    "/proc/x": "keeps no files",
    "/run/hotfleet/x": "Hotfleet itself",
    "/var/cache/hotfleet/x": "Hotfleet itself",
    "staging": "Hotfleet itself",
    "read-only": "read-only",
    "of a user": "every folder above it",
    "a mount": "mounted at",
}


def test_each_bad_target_is_refused_with_its_own_sentence(console: Console, point: str) -> None:
    top = console.device.btrfs
    (top / "file").write_text("old")
    (top / "link").symlink_to("/etc")
    read_only = console.device.make_file_system("ext4", name="ro", size_mb=16)
    command("mount", "-o", "remount,ro", read_only)
    users = console.device.make_file_system("ext4", name="users", size_mb=16)
    os.chown(users, 1234, 1234)
    targets: dict[str, str | Path] = {
        "file": top / "file" / "x", "link": top / "link" / "x", "relative": "srv/x", "up": "/srv/../etc",
        "staging": top / ".hotfleet-x", "read-only": read_only / "x", "of a user": users / "x",
        "a mount": read_only,
    }  # fmt: skip
    for name, sentence in REFUSALS.items():
        target = targets.get(name, name)
        mode = Mode.EXACT if name == "a mount" else Mode.MERGE
        with pytest.raises(RestoreTargetRefused, match=sentence) as refused:
            console.restore(point, top / "data", target, mode=mode)
        assert refused.value.remedy or name in ("relative", "up"), name
    with pytest.raises(RestoreTargetRefused, match="are free there"):
        console.restore(point, top / "data", top / "x", size_bytes=10**15)
    with pytest.raises(RestoreTargetRefused, match="original place"):
        console.restore(point, "/", None)
    assert not (top / "x").exists()
    assert_device_is_clean(console)


def test_a_folder_on_layers_is_not_swapped(console: Console, point: str) -> None:
    with layered(console.device.make_file_system("ext4", size_mb=64), "target") as merged:
        target = merged / "target"
        with pytest.raises(RestoreTargetRefused, match="layered"):
            console.restore(point, console.device.btrfs / "data", target, mode=Mode.EXACT)
        assert picture_of(target).keys() == {b"file"}
        fresh = console.restore(point, console.device.btrfs / "data", target / "fresh", mode=Mode.EXACT)
        assert fresh.is_complete, "where nothing is yet"


def test_removing_first_is_refused_below_a_folder_of_a_user(console: Console, point: str) -> None:
    home = console.device.btrfs / "home"
    (home / "target").mkdir(parents=True)
    os.chown(home, 1234, 1234)
    with pytest.raises(RestoreTargetRefused, match="removed first"):
        console.restore(point, console.device.btrfs / "data", home / "target", mode=Mode.DIRECT)
    assert (home / "target").exists()
    outcome = console.restore(point, console.device.btrfs / "data", home / "target", mode=Mode.EXACT)
    assert outcome.is_complete, "a swap is safe there"


def test_nothing_is_removed_first_for_a_name_that_lacks(console: Console, point: str) -> None:
    data = console.device.btrfs / "data"
    with pytest.raises(PlanRefused, match="holds nothing named"):
        console.restore(point, data, None, names=["file", "gone"], mode=Mode.DIRECT)
    assert (data / "file").exists()


def test_nothing_is_removed_first_when_the_device_cannot_read(console: Console, point: str) -> None:
    data = console.device.btrfs / "data"

    def lose(event: Event) -> None:
        if isinstance(event, PhaseStarted) and event.phase.value == "transfer":
            for pack in (console.place.path / "data").glob("*/*"):
                pack.unlink()

    console.tell = lose  # type: ignore[method-assign]  # the packs go where it is told
    with pytest.raises(AgentError):
        console.restore(point, data, None, mode=Mode.DIRECT)
    assert (data / "file").read_text() == "new"
    assert_device_is_clean(console)


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_what_snapshots_may_share_sets_nothing_free(console: Console, point: str, kind: str) -> None:
    ground = console.device.make_file_system(kind, name="shared", size_mb=160)
    target = ground / "target"
    target.mkdir()
    (target / "old").write_bytes(os.urandom(30_000_000))
    os.sync()
    room = os.statvfs(ground)
    needed = room.f_bavail * room.f_frsize + 15_000_000
    if kind == "btrfs":
        with pytest.raises(RestoreTargetRefused, match="may live on in snapshots"):
            console.restore(point, console.device.btrfs / "data", target, mode=Mode.DIRECT, size_bytes=needed)
        assert (target / "old").exists()
    else:
        words = (point, console.device.btrfs / "data", target)
        assert console.restore(*words, mode=Mode.DIRECT, size_bytes=needed).is_complete


@pytest.mark.parametrize("mode", [Mode.EXACT, Mode.MERGE])
def test_a_disk_that_is_full_in_the_middle_keeps_the_old_state(
    console: Console, point: str, mode: Mode
) -> None:
    small = console.device.make_file_system("ext4", size_mb=24)
    target = small / "target"
    target.mkdir()
    (target / "file").write_text("old")
    before = picture_of(small)
    with pytest.raises(RestoreTargetRefused, match="was full"):
        console.restore(point, console.device.btrfs / "data", target, mode=mode, conflict=Conflict.REPLACE)
    assert picture_of(small) == before
    assert_device_is_clean(console)


def test_a_network_that_is_cut_leaves_the_old_state(console: Console, point: str) -> None:
    target = console.device.btrfs / "target"
    target.mkdir()
    (target / "file").write_text("old")

    def cut(event: Event) -> None:
        if isinstance(event, PhaseStarted) and event.phase.value == "transfer":
            console.device.cut()

    console.tell = cut  # type: ignore[method-assign]  # it cuts where it is told
    with pytest.raises(AgentError):
        console.restore(point, console.device.btrfs / "data", target, mode=Mode.EXACT)
    assert texts(target) == {"file": "old"}
    console.device.heal()
    assert_device_is_clean(console, is_connected=True)


def test_the_second_restore_to_one_place_is_refused(console: Console, point: str, tmp_path: Path) -> None:
    second = Console(console.device, tmp_path / "second")
    second.place = console.place
    second.password = console.password
    target, said = console.device.btrfs / "target", []

    def interfere(event: Event) -> None:
        if isinstance(event, PhaseStarted) and event.phase.value == "transfer":
            with pytest.raises(DeviceBusy) as refused:
                second.restore(point, console.device.btrfs / "data", target / "in it")
            said.append(refused.value.message)

    console.tell = interfere  # type: ignore[method-assign]  # the second one works while the first one does
    assert console.restore(point, console.device.btrfs / "data", target).is_complete
    assert said == [f"Another run restores to {target} at this moment."]


def test_what_a_power_cut_left_is_put_back_by_the_next_restore(console: Console, point: str) -> None:
    staging = console.device.btrfs / f".hotfleet-{console.id}-dead.restore"
    for name in ("new", "old/1.1", "owed/1.1", "renamed", "undone"):
        (staging / name).mkdir(parents=True)
    staging.chmod(0o700)
    (staging / "old" / "1.1" / "precious").write_text("old")
    (staging / "owed" / "1.1" / "here").write_text(f"{console.device.btrfs}.")
    (staging / "owed" / "1.1" / "staged").write_text(f"{staging}/new/precious.")
    (staging / "owed" / "1.1" / "had").touch()
    console.restore(point, console.device.btrfs / "data", console.device.btrfs / "target")
    assert (console.device.btrfs / "precious").read_text() == "old"
    assert_device_is_clean(console)
