"""The whole way: a device over SSH, a live snapshot, a restore point, a restore."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.browse import list_folder
from agents.commands import to_text
from agents.errors import PlanRefused, RestoreTargetRefused, SourceMissing
from agents.events import Checked, CheckState, Consistency, Froze
from agents.plan import SourceRequest
from backupsite.recovery.backups import lacks_points
from tests.live.flows import Console, assert_device_is_clean, picture_of
from tests.live.ground import Device, wait_until

HOSTILE_NAMES = [
    b"new\nline",
    b"carriage\rreturn",
    b"tab\tand 'single' and \"double\"",
    b"-rf",
    b"--password-command=touch x",
    b"@file",
    b"$(touch pwned)",
    b"`id`;|&",
    b"*?[a-z]{b}",
    b"back\\slash",
    b"\xff\xfe not utf-8 \x80",
    b"\x1b]0;pwn\x07",
    "e\u0301 \u202e \u200b".encode(),
    b"a:b",
    b" leading and trailing ",
    b"\n" * 255,
    b"n" * 255,
    b"#comment",
]


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


def fill(folder: Path) -> Path:
    """Make a tree with everything that a file system can hold."""
    top = os.fsencode(folder)
    os.makedirs(top, exist_ok=True)
    for number, name in enumerate(HOSTILE_NAMES):
        path = os.path.join(top, name)
        with open(path, "wb") as file:
            file.write(b"content %d" % number)
        os.utime(path, ns=(1, 1_600_000_000_123_456_789 + number))
    sub = folder / "sub"
    sub.mkdir()
    (sub / "large").write_bytes(os.urandom(3_000_000))
    (sub / "empty").touch()
    os.link(sub / "large", sub / "hard link")
    os.symlink("../sub/large", folder / "link")
    os.symlink(b"/no/\xffwhere", top + b"/broken link")
    os.mkfifo(folder / "fifo")
    os.setxattr(sub / "empty", "user.hotfleet", b"\x00\xff value")
    os.chown(sub / "empty", 1234, 4321)
    os.chmod(sub / "empty", 0o4751)
    os.chmod(sub, 0o2770)
    subprocess.run(["setfacl", "-m", "u:1234:r", str(sub / "large")], check=True)
    os.utime(sub, ns=(5, -1_000_000_000))
    return folder


def test_what_comes_back_is_what_was_there(console: Console, tmp_path: Path) -> None:
    source = fill(console.device.btrfs / "data")
    before = picture_of(source)
    outcome = console.back_up(source)
    assert_device_is_clean(console)
    (point,) = outcome.points
    assert (point.method, point.consistency, point.is_complete) == ("btrfs", Consistency.CRASH, True)
    assert picture_of(source) == before
    assert next(event for event in console.events if isinstance(event, Froze)).milliseconds > 0
    names = {
        node.name.encode("utf-8", "surrogateescape")
        for node in list_folder(console.place, console.binary, point.restic_id, str(source))
    }
    assert set(HOSTILE_NAMES) <= names
    target = Path("/var/lib") / f"restored-{console.id}"
    try:
        restored = console.restore(point.restic_id, source, target)
        assert restored.is_complete
        assert picture_of(target) == before
        again = console.restore(point.restic_id, source, target)
        assert again.kept > 0 and not again.is_complete, "what was kept was not compared"
        assert picture_of(target) == before
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)
    assert_device_is_clean(console)
    console.check_repository()


def test_only_what_was_picked_is_restored_and_what_exists_is_kept(console: Console) -> None:
    source = fill(console.device.btrfs / "data")
    (point,) = console.back_up(source).points
    target = Path("/var/lib") / f"restored-{console.id}"
    names = [
        b"*?[a-z]{b}".decode(),
        "new\nline",
        b"\xff\xfe not utf-8 \x80".decode("utf-8", "surrogateescape"),
    ]
    try:
        target.mkdir(mode=0o700)
        (target / "new\nline").write_text("mine")
        restored = console.restore(point.restic_id, source, target, names=names)
        assert (restored.kept, restored.is_complete) == (1, False)
        assert {to_text(name) for name in os.listdir(os.fsencode(target))} == set(names)
        assert (target / "new\nline").read_text() == "mine"
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)


def test_a_source_may_be_a_single_file(console: Console) -> None:
    source = console.device.btrfs / "one file"
    source.write_text("alone")
    (point,) = console.back_up(source).points
    assert (point.file_count, point.size_bytes) == (1, 5)
    target = Path("/var/lib") / f"restored-{console.id}"
    try:
        assert console.restore(point.restic_id, source, target).files == 1
        assert (target / "one file").read_text() == "alone"
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)


def test_a_second_backup_sends_only_what_changed(console: Console) -> None:
    source = console.device.btrfs / "data"
    source.mkdir()
    (source / "large").write_bytes(os.urandom(20_000_000))
    first = console.back_up(source).points[0]
    second = console.back_up(source).points[0]
    assert first.stored_bytes > 20_000_000 > 100_000 > second.stored_bytes


def test_nested_subvolumes_are_in_the_restore_point(console: Console) -> None:
    source = console.device.btrfs / "data"
    source.mkdir()
    nested = source / "a" / "nested"
    nested.parent.mkdir()
    subprocess.run(["btrfs", "-q", "subvolume", "create", str(nested)], check=True)
    subprocess.run(["btrfs", "-q", "subvolume", "create", str(nested / "inner")], check=True)
    (nested / "file").write_text("nested")
    (nested / "inner" / "file").write_text("inner")
    (point,) = console.back_up(source).points
    for folder, wanted in ((nested, {"file", "inner"}), (nested / "inner", {"file"})):
        nodes = list_folder(console.place, console.binary, point.restic_id, str(folder))
        assert {node.name for node in nodes} == wanted
    assert_device_is_clean(console)


def test_the_snapshot_holds_one_moment_although_the_application_writes_on(console: Console) -> None:
    source = console.device.btrfs / "data"
    source.mkdir()
    script = 'cd "$1"; n=0; while :; do n=$((n+1)); for f in a b; do echo $n >new; mv new $f; done; done'
    writer = subprocess.Popen(["sh", "-c", script, "sh", str(source)])
    wait_until((source / "b").exists, what="the writer's first round")
    try:
        (point,) = console.back_up(source).points
    finally:
        writer.kill()
        writer.wait()
    target = Path("/var/lib") / f"restored-{console.id}"
    try:
        console.restore(point.restic_id, source, target)
        first, second = (int((target / name).read_text()) for name in ("a", "b"))
        assert first - second in (0, 1)
        assert int((source / "b").read_text()) > first + 100, "the writer went on"
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)


def test_a_live_walk_is_labelled_and_its_moving_files_are_listed(console: Console) -> None:
    source = console.device.make_file_system("ext4", size_mb=64) / "data"
    source.mkdir()
    (source / "still").write_bytes(os.urandom(1_000_000))
    writer = subprocess.Popen(["sh", "-c", 'while :; do date >"$1/moving"; done', "sh", str(source)])
    try:
        outcome = console.back_up(source, fallback="accept-live")
    finally:
        writer.kill()
        writer.wait()
    (point,) = outcome.points
    assert (point.method, point.consistency, point.is_complete) == ("live", Consistency.NONE, False)
    assert [problem.path for problem in console.problems] == [str(source / "moving")]


def test_a_policy_that_wants_a_snapshot_is_refused_where_there_is_none(console: Console) -> None:
    source = console.device.make_file_system("ext4", size_mb=64) / "data"
    source.mkdir()
    with pytest.raises(PlanRefused) as refusal:
        console.back_up(source)
    assert refusal.value.remedy
    assert console.count_restore_points() == 0


def test_a_missing_source_is_never_a_success(console: Console) -> None:
    source = console.device.btrfs / "data"
    source.mkdir()
    with pytest.raises(SourceMissing):
        console.back_up(source, console.device.btrfs / "missing")
    assert console.count_restore_points() == 0
    assert_device_is_clean(console)


def test_a_service_is_stored_where_it_runs_and_left_out_elsewhere(
    make_device: Callable[..., Device], tmp_path: Path
) -> None:
    first, second = (Console(make_device(), tmp_path / name) for name in ("one", "two"))
    source = first.device.btrfs / "service"
    source.mkdir()
    shared = SourceRequest(str(source), is_shared=True)
    # Both see the files of this machine: the folder is empty while it is the turn of the other one.
    left = second.back_up(shared)
    assert (left.points, left.elsewhere, left.is_complete) == ((), (str(source),), True)
    assert not lacks_points(left)
    (source / "rows").write_text("rows")
    stored = first.back_up(shared)
    assert (len(stored.points), stored.elsewhere) == (1, ())
    assert (first.count_restore_points(), second.count_restore_points()) == (1, 0)
    for console in (first, second):
        assert_device_is_clean(console)


def test_excludes_are_left_out(console: Console) -> None:
    source = console.device.btrfs / "data"
    source.mkdir()
    for name in ("keep", "drop.tmp", "$HOME"):
        (source / name).write_text(name)
    (point,) = console.back_up(source, excludes=["*.tmp", "$HOME"]).points
    nodes = list_folder(console.place, console.binary, point.restic_id, str(source))
    assert [node.name for node in nodes] == ["keep"]


def test_unreadable_files_are_warnings_and_listed(console: Console) -> None:
    source = console.device.btrfs / "data"
    source.mkdir()
    (source / "good").write_text("good")
    (source / "bad").write_bytes(b"x" * 200_000)
    _damage(console.device, source / "bad")
    outcome = console.back_up(source)
    (point,) = outcome.points
    assert not point.is_complete
    assert point.problem_count == 1
    assert [problem.path for problem in console.problems] == [str(source / "bad")]
    accepting = SourceRequest(str(source), accepted_problems=1)
    (accepted,) = console.back_up(accepting).points
    assert accepted.is_complete and accepted.problem_count == 1
    assert accepted.proof == "", "what is not whole is read again"


def _damage(device: Device, path: Path) -> None:
    """Flip bytes of a file in the image under the btrfs: its checksum fails, reads answer EIO."""
    subprocess.run(["sync", "-f", str(path)], check=True)
    mount_point = device.btrfs
    image = device.directory / "btrfs.img"
    subprocess.run(["umount", str(mount_point)], check=True)
    data = image.read_bytes()
    position = data.index(b"x" * 100_000)
    with image.open("r+b") as file:
        file.seek(position + 50_000)
        file.write(b"y" * 4096)
    subprocess.run(["mount", "-t", "btrfs", "-o", "loop", str(image), str(mount_point)], check=True)


def test_a_user_with_sudo_can_do_the_same(device: Device, tmp_path: Path) -> None:
    console = Console(device, tmp_path, user=device.make_user(may_sudo=True))
    source = fill(device.btrfs / "data")
    before = picture_of(source)
    (point,) = console.back_up(source).points
    target = Path("/var/lib") / f"restored-{console.id}"
    try:
        console.restore(point.restic_id, source, target)
        assert picture_of(target) == before
    finally:
        subprocess.run(["rm", "-rf", str(target)], check=True)
    assert_device_is_clean(console)


@pytest.mark.parametrize("kind", ["link", "file", "dots"])
def test_a_restore_never_goes_where_a_path_leads_elsewhere(
    console: Console, tmp_path: Path, kind: str
) -> None:
    source = console.device.btrfs / "data"
    source.mkdir()
    (source / "file").write_text("x")
    (point,) = console.back_up(source).points
    base = Path("/var/lib") / f"target-{console.id}"
    base.mkdir(mode=0o755)
    try:
        parent = base / "parent"
        if kind == "link":
            parent.symlink_to(tmp_path)
        elif kind == "file":
            parent.write_text("x")
        else:
            parent.mkdir(mode=0o755)
        target = f"{parent}/../parent/x" if kind == "dots" else f"{parent}/x"
        with pytest.raises(RestoreTargetRefused) as refusal:
            console.restore(point.restic_id, source, target)
        assert refusal.value.message
        assert not (tmp_path / "x").exists()
    finally:
        subprocess.run(["rm", "-rf", str(base)], check=True)


def test_a_probe_ticks_everything_that_a_backup_needs(console: Console) -> None:
    assert console.device.btrfs
    console.probe()
    ticks = {event.name: event for event in console.events if isinstance(event, Checked)}
    for name in ("reached", "host-key", "key", "privileges", "system", "tools", "clock", "restic", "tunnel"):
        assert ticks[name].state is CheckState.GOOD, ticks[name]
    assert ticks[f"file-system:{console.device.btrfs}"[:64]].state is CheckState.GOOD
    assert_device_is_clean(console)
