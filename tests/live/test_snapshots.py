"""btrfs on a real file system: nested subvolumes, history, several sources, leftovers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.commands import Command
from agents.errors import CommandFailed
from agents.events import Consistency
from agents.facts import DeviceFacts, read_facts
from agents.leftovers import LeftoverKind, clean_leftovers, find_leftovers
from agents.local import LocalSession
from agents.moments import take_moment
from agents.plan import SourceRequest, make_plan
from agents.runner import Runner
from agents.snapshots import Taken, providers
from tests.live.ground import Device, command
from tests.live.hearing import read_all

CONSOLE = f"b{os.getpid()}"


@pytest.fixture
def ground(make_device: Callable[..., Device]) -> Path:
    """A btrfs with a subvolume in which there are nested ones, and history as snapper keeps it."""
    data = make_device().make_file_system("btrfs", size_mb=256) / "da ta"
    for each in (data, data / "nested", data / "nested" / "deep er", data / ".snapshots"):
        command("btrfs", "subvolume", "create", each)
        (each / "file").write_text("old")
    command("btrfs", "subvolume", "snapshot", "-r", data, data / ".snapshots" / "1")
    return data


@pytest.fixture
def runner(live_ground: None) -> Iterator[Runner]:
    with Runner(
        LocalSession(), console_id=CONSOLE, run_id=f"r{time.monotonic_ns():x}", tell=lambda event: None
    ) as runner:
        yield runner


@contextmanager
def taken(runner: Runner, *paths: Path) -> Iterator[list[Taken]]:
    facts = read_facts(runner, map(str, paths))
    requests = [SourceRequest(str(path), if_hot_impossible="accept-live") for path in paths]
    moments = enumerate(make_plan(facts, requests).moments)
    shots = [
        each
        for number, moment in moments
        for each in take_moment(runner, moment, number, facts, 10_000.0, lambda event: None)
    ]
    yield shots
    for shot in shots:
        providers()[shot.method].drop(runner, shot)


def read(runner: Runner, shots: list[Taken], script: str, *words: Path) -> str:
    """Run a script that sees the snapshots at their true paths."""
    program = runner.start(
        Command.of("sh", "-c", script, "x", *map(str, words)),
        environment={},
        binds=[bind for shot in shots for bind in shot.binds],
    )
    program.wait(timeout_s=60)
    return read_all(program).decode()


def facts_of(runner: Runner) -> DeviceFacts:
    return read_facts(runner)


def test_every_nested_subvolume_is_frozen_at_its_true_path(runner: Runner, ground: Path) -> None:
    files = [ground / "file", ground / "nested" / "file", ground / "nested" / "deep er" / "file"]
    with taken(runner, ground) as shots:
        assert shots[0].consistency is Consistency.CRASH
        for file in files:
            file.write_text("new")
        assert read(runner, shots, 'cat "$@"', *files) == "old" * 3
        assert read(runner, shots, 'touch "$@" 2>&1 || echo refused', *files).endswith("refused\n")
    assert [file.read_text() for file in files] == ["new"] * 3
    assert not list(ground.rglob(".hotfleet-*"))


def test_a_subvolume_mounted_alone_is_frozen_with_its_nested_ones(runner: Runner, ground: Path) -> None:
    """As distributions do with @home: the mount shows no top level."""
    alone = ground.parent.parent / "alone"
    alone.mkdir()
    source = command("findmnt", "-n", "-o", "SOURCE", "-T", ground).stdout.split("[")[0].strip()
    command("mount", "-o", f"subvol={ground.name}", source, alone)
    with taken(runner, alone) as shots:
        for path in ("file", "nested/file", "nested/deep er/file"):
            (ground / path).write_text("new")
        words = [alone / "file", alone / "nested" / "file", alone / "nested" / "deep er" / "file"]
        assert read(runner, shots, 'cat "$@"', *words) == "old" * 3


def test_history_is_not_read(runner: Runner, ground: Path) -> None:
    with taken(runner, ground) as shots:
        assert read(runner, shots, 'cat "$1"/.snapshots/1/file || echo none', ground) == "none\n"


def test_two_folders_and_a_file_of_one_subvolume_share_a_snapshot(runner: Runner, ground: Path) -> None:
    (ground / "one").mkdir()
    (ground / "one" / "a").write_text("a")
    with taken(runner, ground / "one", ground / "file", ground / "nested") as shots:
        listed = command("btrfs", "subvolume", "list", ground).stdout
        assert listed.count(" .hotfleet-") == 3  # one for the two, one for nested, one for what lies in it
        (ground / "one" / "a").unlink()
        (ground / "file").write_text("new")
        assert read(runner, shots, 'cat "$1/one/a" "$1/file"', ground) == "aold"


def test_a_snapshot_of_a_dead_run_goes_and_a_foreign_one_stays(runner: Runner, ground: Path) -> None:
    """After a restart of the device there is no journal any more: only the name tells whose it is."""
    dead, foreign = ground / f".hotfleet-{CONSOLE}-dead", ground / f".hotfleet-{CONSOLE}x-dead"
    for directory in (dead, foreign):
        directory.mkdir()
        command("btrfs", "subvolume", "snapshot", "-r", ground, directory / "0")
    precious = ground / ".hotfleet-notes"
    precious.mkdir()
    found = [each for each in find_leftovers(runner, facts_of(runner)) if CONSOLE in each.path]
    assert {(each.kind, each.path) for each in found} == {
        (LeftoverKind.SNAPSHOTS, str(dead)),
        (LeftoverKind.SNAPSHOTS, str(foreign)),
    }
    stays = clean_leftovers(runner, found)
    assert [each.path for each, _ in stays] == [str(foreign)]
    assert not dead.exists()
    assert precious.exists()
    assert (foreign / "0" / "file").exists()


def test_files_that_a_person_put_there_are_not_removed(runner: Runner, ground: Path) -> None:
    directory = ground / f".hotfleet-{CONSOLE}-dead"
    directory.mkdir()
    (directory / "thesis").write_text("mine")
    found = [each for each in find_leftovers(runner, facts_of(runner)) if CONSOLE in each.path]
    ((stays, reason),) = clean_leftovers(runner, found)
    assert stays.path == str(directory)
    assert "not empty" in reason
    assert (directory / "thesis").read_text() == "mine"


def test_a_snapshot_lies_where_only_root_may_rename_it(runner: Runner, ground: Path) -> None:
    """The owner of a subvolume (a user's home, a database's directory) could swap our directory in it."""
    os.chown(ground, 65534, 65534)
    with taken(runner, ground) as shots:
        assert not list(ground.glob(".hotfleet-*"))
        assert list(ground.parent.glob(".hotfleet-*"))
        assert read(runner, shots, 'cat "$1"', ground / "file") == "old"
    assert not list(ground.parent.glob(".hotfleet-*"))


@pytest.mark.parametrize("bait", ["link", "directory"])
def test_a_user_who_swaps_the_directory_deletes_nothing_of_others(
    runner: Runner, ground: Path, bait: str
) -> None:
    top = ground.parent
    os.chown(top, 65534, 65534)  # the only tops are not root's
    os.chown(ground, 65534, 65534)
    victim = top / "victim"
    command("btrfs", "subvolume", "create", victim)
    facts = read_facts(runner, [str(ground)])
    shot = providers()["btrfs"].prepare(runner, [str(ground)], facts)
    runner.run(Command.of("/bin/sh", "-c", f"take() {{\n{shot.script}\n}}\ntake"))
    taken = providers()["btrfs"].finish(runner, shot)
    (directory,) = ground.glob(".hotfleet-*")
    directory.rename(ground / "away")
    if bait == "link":
        directory.symlink_to(top)
    else:
        directory.mkdir()
        os.chown(directory, 65534, 65534)
        victim = directory / "victim"
        command("btrfs", "subvolume", "create", victim)
    with pytest.raises(CommandFailed, match="failed with status 1") as caught:
        providers()["btrfs"].drop(runner, taken)
    assert "somebody changed it" in caught.value.detail
    assert victim.exists()
    if bait == "link":
        directory.unlink()
    else:
        command("btrfs", "subvolume", "delete", victim)
        directory.rmdir()
    (ground / "away").rename(directory)
    providers()["btrfs"].drop(runner, taken)
    assert not directory.exists()


def test_a_newline_in_the_name_of_a_subvolume_stops_nobody(runner: Runner, ground: Path) -> None:
    strange = ground / "two\nlines"
    command("btrfs", "subvolume", "create", strange)
    (strange / "file").write_text("old")
    command("btrfs", "subvolume", "snapshot", "-r", strange, ground / "his\ntory")
    with taken(runner, ground) as shots:
        (strange / "file").write_text("new")
        assert read(runner, shots, 'cat "$1"', strange / "file") == "old"
