"""What btrfs proves to be unchanged is not read again, and no change is ever missed."""

from __future__ import annotations

import mmap
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.backup import BackupOutcome, KnownPoint
from agents.events import Phase, PhaseStarted
from agents.facts import read_facts
from agents.runner import Runner
from agents.snapshots import providers
from tests.live.flows import Console
from tests.live.ground import Device, command
from tests.live.shells import ShellSession


@pytest.fixture
def source(device: Device) -> Path:
    """A subvolume with a nested one, both below a top that is not part of it."""
    path = device.btrfs / "data"
    command("btrfs", "subvolume", "create", path)
    command("btrfs", "subvolume", "create", path / "nested")
    (path / "file").write_bytes(b"a" * 9000)
    (path / "nested" / "file").write_text("deep")
    (path / "link").hardlink_to(path / "file")
    return path


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


def known_of(outcome: BackupOutcome) -> tuple[KnownPoint, ...]:
    return tuple(
        KnownPoint(
            point.source, point.proof, point.restic_id, point.method, point.consistency,
            point.size_bytes, point.file_count,
        )
        for point in outcome.points
    )  # fmt: skip


def test_nothing_changed_and_nothing_is_read(console: Console, source: Path) -> None:
    first = console.back_up(source)
    assert first.points[0].proof and not first.points[0].is_unchanged
    again = console.back_up(source, known=known_of(first))
    (point,) = again.points
    assert point.is_unchanged and again.is_complete
    assert (point.restic_id, point.file_count) == (first.points[0].restic_id, first.points[0].file_count)
    assert any("nothing changed since restore point" in said for said in console.sentences)
    phases = [event.phase for event in console.events if isinstance(event, PhaseStarted)]
    assert phases.count(Phase.SNAPSHOT) == phases.count(Phase.TRANSFER) == 1
    third = console.back_up(source, known=known_of(again))
    assert third.points[0].is_unchanged


def write_byte(path: Path) -> None:
    with (path / "file").open("r+b") as file:
        file.seek(4000)
        file.write(b"b")


def write_mapped(path: Path) -> None:
    with (path / "file").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[5000] = 66  # and no msync: only the kernel knows


def keep_times(path: Path) -> None:
    """A byte, with the times set back: what tools that compare times would miss."""
    before = (path / "file").stat()
    write_byte(path)
    os.utime(path / "file", ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], object]] = {
    "one byte": write_byte,
    "one byte in a mapping": write_mapped,
    "one byte with the old times": keep_times,
    "a mode": lambda path: (path / "file").chmod(0o600),
    "an owner": lambda path: os.chown(path / "file", 12345, 12345),
    "an attribute": lambda path: os.setxattr(path / "file", "user.note", b"x"),
    "a time": lambda path: os.utime(path / "file", ns=(1, 1)),
    "a name": lambda path: (path / "file").rename(path / "other"),
    "a new file": lambda path: (path / "new").touch(),
    "a removed link": lambda path: (path / "link").unlink(),
    "a nested subvolume's file": lambda path: (path / "nested" / "file").write_text("deeq"),
    "a new nested subvolume": lambda path: command("btrfs", "subvolume", "create", path / "more"),
    "a subvolume in another's place": lambda path: (
        command("btrfs", "subvolume", "delete", path / "nested"),
        command("btrfs", "subvolume", "create", path / "nested"),
    ),
}


def test_no_change_is_missed(console: Console, source: Path) -> None:
    """Each change right after the snapshot was dropped, one after the other; a run sees every one of them."""
    outcome = console.back_up(source)
    for name, change in CHANGES.items():
        change(source)
        outcome = console.back_up(source, known=known_of(outcome))
        assert not outcome.points[0].is_unchanged, name
    assert console.back_up(source, known=known_of(outcome)).points[0].is_unchanged


def test_other_patterns_are_another_source(console: Console, source: Path) -> None:
    first = console.back_up(source)
    again = console.back_up(source, known=known_of(first), excludes=["*.log"])
    assert not again.points[0].is_unchanged


def test_a_restore_point_that_is_gone_proves_nothing(console: Console, source: Path) -> None:
    first = console.back_up(source)
    (console.place.path / "snapshots" / first.points[0].restic_id).unlink()
    assert not console.back_up(source, known=known_of(first)).points[0].is_unchanged


def test_a_source_that_holds_its_own_snapshots_has_no_proof(console: Console, device: Device) -> None:
    """Dropping the snapshot changes the only subvolume that there is: then nobody can tell."""
    (device.btrfs / "file").write_text("x")
    assert console.back_up(device.btrfs).points[0].proof == ""


@pytest.fixture
def runner(live_ground: None) -> Iterator[Runner]:
    session = ShellSession("dash")
    with Runner(session, console_id=f"g{os.getpid()}", run_id="r1", tell=lambda event: None) as runner:
        yield runner


def test_a_writer_at_the_moment_of_the_snapshot_is_never_missed(runner: Runner, source: Path) -> None:
    """A change in the transaction of the snapshot itself would be missed if the kernel let one in: a writer
    stops a random moment before or after the snapshot, and whenever the proofs agree the data must."""
    chance = random.Random(7)
    provider = providers()["btrfs"]
    facts = read_facts(runner, [str(source)])
    agreed = number = 0
    while number < 24 or (not agreed and number < 200):  # else nothing was compared
        number += 1
        stop = threading.Event()
        writer = threading.Thread(target=count, args=(source / "counter", stop))
        shot = provider.prepare(runner, [str(source)], facts, number=number)
        writer.start()
        delay = chance.uniform(-0.03, 0.03)
        threading.Timer(max(0.0, 0.03 + delay), stop.set).start()
        time.sleep(0.03)
        command("/bin/sh", "-c", f"take() {{ {shot.script}\n}}; take")
        writer.join()
        taken = provider.finish(runner, shot)
        now = provider.prove(runner, str(source), facts)
        (bind,) = [bind for bind in taken.binds if bind.true_path == str(source)]
        same = Path(bind.snapshot_path, "counter").read_bytes() == (source / "counter").read_bytes()
        if now is not None and taken.proofs[0].text == now.text:
            agreed += 1
            assert same
        provider.drop(runner, taken)
    assert agreed


def count(path: Path, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        path.write_text(str(number))


def test_points_come_in_the_order_of_the_policy(console: Console, source: Path, device: Device) -> None:
    other = device.btrfs / "other"
    command("btrfs", "subvolume", "create", other)
    first = console.back_up(source, other)
    write_byte(source)
    again = console.back_up(source, other, known=known_of(first))
    assert [(point.source, point.is_unchanged) for point in again.points] == [
        (str(source), False),
        (str(other), True),
    ]
