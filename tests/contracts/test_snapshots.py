"""What every snapshot provider keeps, whichever is found in the package."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from agents.binds import Bind
from agents.commands import Command, Result
from agents.events import Consistency
from agents.facts import DeviceFacts
from agents.facts.lvm import VOLUMES, parse_volumes
from agents.snapshots import Claim, Refusal, SnapshotProvider, choose, providers, snapshot_ability
from agents.snapshots.contract import Shot
from tests.agents.facts.samples import make_facts, make_mount
from tests.contracts.shells import check_shell

LVM = (Path(__file__).parents[1] / "cases" / "facts" / "lvm.json").read_bytes()
# One mount for each provider; /lv and /thin are two volumes of one group in tests/cases/facts/lvm.json.
FACTS = replace(
    make_facts(
        make_mount("/bare", "xfs", "8:17"),
        make_mount("/lv", "ext4", "253:0"),
        make_mount("/lv2", "xfs", "253:1", "/sub"),
        make_mount("/thin", "xfs", "253:6"),
        replace(make_mount("/tank", "zfs", "0:50"), source="tank/data"),
        tools=("btrfs", "unshare", "lvm", "zfs"),
        lvm=parse_volumes(LVM),
    ),
    reflinks=("/bare",),
)
PATHS = (
    *("/", "/etc", "/data", "/data/dir", "/data/nested", "/bare/x"),
    *("/lv", "/lv/it's", "/lv2/a", "/thin", "/thin/b", "/tank/a"),
)
RUN = "hotfleet-c1-r1"
# What is made on a device has a name of its own that starts with that of the run.
_TRACE = re.compile(rf"{RUN}[a-z0-9-]*")


class Transcript:
    """A runner that writes down what it is asked, in order, and answers what the device would."""

    name = RUN

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def run(self, command: Command, *, timeout_s: float = 60.0, check: bool = True) -> Result:
        self.lines.append(("run", command.shell_line()))
        return Result(command, 0, self._answer(command), b"")

    def owe(self, key: str, undo: Command, *, within_s: float | None = None) -> None:
        self.lines += [("owe", key), ("undo", undo.shell_line())]

    def settle(self, key: str) -> None:
        self.lines.append(("settle", key))

    def _answer(self, command: Command) -> bytes:
        if command == VOLUMES:
            return LVM
        if "/sys/dev/block" in command.shell_line():  # how much was written: paths with their devices
            return b"2000\x0077\0" * (len(command.argv[4:]) // 2)
        return b""

    def all(self, what: str) -> list[str]:
        return [line for verb, line in self.lines if verb == what]


@pytest.fixture(params=sorted(providers()))
def provider(request: pytest.FixtureRequest) -> SnapshotProvider:
    return providers()[request.param]


def claimed(provider: SnapshotProvider, facts: DeviceFacts = FACTS) -> list[str]:
    paths = [path for path in PATHS if isinstance(provider.can_take(path, facts), Claim)]
    assert paths, f"no path here is for {provider.name}: give it one"
    return paths


def prepare(provider: SnapshotProvider, number: int = 0) -> tuple[Transcript, Shot]:
    runner = Transcript()
    return runner, provider.prepare(runner, claimed(provider), FACTS, number=number)


def traces(text: str) -> set[str]:
    return set(_TRACE.findall(text))


def test_each_answer_has_a_reason(provider: SnapshotProvider) -> None:
    for path in PATHS:
        answer = provider.can_take(path, FACTS)
        assert isinstance(answer, Claim | Refusal)
        assert answer.reason


def test_whatever_is_made_is_owed_before_and_by_its_own_name(provider: SnapshotProvider) -> None:
    runner, shot = prepare(provider)
    owed: set[str] = set()
    for what, line in [*runner.lines, ("run", shot.script)]:
        if what == "undo":
            owed |= traces(line)
        elif what == "run" and "is_safe" not in line:  # a question, which only bears the run's name
            assert traces(line) <= owed, line
    assert bool(shot.script) == bool(shot.keys) == bool(owed)
    assert shot.keys == tuple(runner.all("owe"))
    provider.finish(runner, shot)
    assert shot.keys == tuple(runner.all("owe"))


def test_dropping_settles_everything_once_and_the_newest_first(provider: SnapshotProvider) -> None:
    runner, shot = prepare(provider)
    provider.drop(runner, provider.finish(runner, shot))
    assert runner.all("settle") == list(shot.keys[::-1])


def test_two_moments_of_a_run_share_no_key_and_no_name(provider: SnapshotProvider) -> None:
    first, second = prepare(provider), prepare(provider, 1)
    assert not set(first[1].keys) & set(second[1].keys)
    assert not traces(first[1].script) & traces(second[1].script)


def test_a_script_is_short_posix_shell_that_fails_when_its_tool_fails(provider: SnapshotProvider) -> None:
    _, shot = prepare(provider)
    if shot.script:
        check_shell(f"#!/bin/sh\ntake() {{\n{shot.script}\n}}\ntake\n")
        assert "sync" not in shot.script and "exit" not in shot.script
        # every line of it says what a failure means, or is the last one
        assert all(line.endswith("return 1") for line in shot.script.splitlines())


def test_undo_and_remove_are_posix_shell(provider: SnapshotProvider) -> None:
    runner, _ = prepare(provider)
    for line in [*runner.all("undo"), *runner.all("run")]:
        check_shell(f"#!/bin/sh\n{line}\n")


def test_every_path_is_shown_at_its_true_path(provider: SnapshotProvider) -> None:
    runner, shot = prepare(provider)
    taken = provider.finish(runner, shot)
    shown = [bind.true_path for bind in taken.binds]
    assert set(claimed(provider)) <= set(shown)
    assert len(shown) == len(set(shown))
    assert taken.method == provider.name
    assert all(bind.snapshot_path.startswith("/") for bind in taken.binds)


def test_the_claim_and_the_snapshot_agree_on_consistency(provider: SnapshotProvider) -> None:
    _, shot = prepare(provider)
    for path in claimed(provider):
        claim = provider.can_take(path, FACTS)
        assert isinstance(claim, Claim)
        assert claim.consistency is shot.consistency


def test_a_unit_is_named_for_what_a_snapshot_takes(provider: SnapshotProvider) -> None:
    _, shot = prepare(provider)
    for path in claimed(provider):
        assert bool(provider.units(path, FACTS)) == bool(shot.keys)


def test_what_is_made_can_be_found_and_removed_by_its_name(provider: SnapshotProvider) -> None:
    _, shot = prepare(provider)
    found = provider.find_leftovers(FACTS)
    moved = [bind for bind in shot.binds if bind.volume is not None or bind.snapshot_path != bind.true_path]
    places = [bind.snapshot_path if bind.volume is None else bind.volume.path for bind in moved]
    assert all(RUN in place for place in places)
    assert bool(moved) == (found is not None)
    if found is not None:
        check_shell(f"#!/bin/sh\n{found.shell_line()}\n")
        check_shell(f"#!/bin/sh\n{provider.remove_leftover(places[0]).shell_line()}\n")


@pytest.mark.parametrize(
    ("path", "name"),
    [("/data", "btrfs"), ("/bare", "live"), ("/lv", "lvm"), ("/thin/b", "lvm"), ("/tank", "zfs")],
)
def test_the_best_provider_wins(path: str, name: str) -> None:
    assert choose(path, FACTS)[0].name == name


def test_every_mount_has_an_ability_with_a_reason() -> None:
    for mount in FACTS.mounts:
        method, consistency, reason = snapshot_ability(mount, FACTS)
        assert (method == "live") == (consistency is Consistency.NONE)
        assert reason


def take(path: str, *others: str, facts: DeviceFacts = FACTS) -> tuple[Bind, ...]:
    return providers()["btrfs"].prepare(Transcript(), [path, *others], facts).binds


def test_nested_subvolumes_are_shown_each_and_those_of_other_runs_never() -> None:
    base = "/data/.hotfleet-c1-r1"
    assert take("/data") == (Bind(f"{base}/0", "/data"), Bind(f"{base}/1", "/data/nested"))


def test_sources_of_one_subvolume_share_its_snapshot() -> None:
    base = "/data/.hotfleet-c1-r1/0"
    assert take("/data/a", "/data/b") == (Bind(f"{base}/a", "/data/a"), Bind(f"{base}/b", "/data/b"))


def test_a_subvolume_covered_by_another_mount_is_not_taken() -> None:
    covered = make_facts(make_mount("/data/nested", "xfs", "8:18"))
    assert [bind.true_path for bind in take("/data", facts=covered)] == ["/data"]


def test_a_read_only_btrfs_is_not_claimed() -> None:
    facts = make_facts(make_mount("/ro", "btrfs", "0:41", "/", "ro"))
    assert isinstance(providers()["btrfs"].can_take("/ro", facts), Refusal)
