"""What every snapshot provider keeps, whichever is found in the package."""

from __future__ import annotations

import pytest

from agents.binds import Bind
from agents.commands import Command, Result
from agents.events import Consistency
from agents.facts import DeviceFacts
from agents.snapshots import Claim, Refusal, SnapshotProvider, choose, providers, snapshot_ability
from tests.agents.facts.samples import make_facts, make_mount

FACTS = make_facts(make_mount("/bare", "xfs", "8:17"))
TRACE = "/.hotfleet-c1-r1"
PATHS = ("/", "/etc", "/data", "/data/dir", "/data/nested", "/bare/x")


class Transcript:
    """A runner that writes down what it is asked, in order."""

    name = "hotfleet-c1-r1"

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def run(self, command: Command, *, timeout_s: float = 60.0, check: bool = True) -> Result:
        self.lines.append(("run", command.shell_line()))
        return Result(command, 0, b"", b"")

    def owe(self, key: str, undo: Command, *, within_s: float | None = None) -> None:
        self.lines.append(("owe", key))

    def settle(self, key: str) -> None:
        self.lines.append(("settle", key))


@pytest.fixture(params=sorted(providers()))
def provider(request: pytest.FixtureRequest) -> SnapshotProvider:
    return providers()[request.param]


def claimed(provider: SnapshotProvider, facts: DeviceFacts = FACTS) -> list[str]:
    return [path for path in PATHS if isinstance(provider.can_take(path, facts), Claim)]


def test_each_answer_has_a_reason(provider: SnapshotProvider) -> None:
    for path in PATHS:
        answer = provider.can_take(path, FACTS)
        assert isinstance(answer, Claim | Refusal)
        assert answer.reason


def test_each_step_is_owed_before_it_is_done_and_settled_once(provider: SnapshotProvider) -> None:
    runner = Transcript()
    taken = provider.take(runner, claimed(provider), FACTS)
    owed = [index for index, (what, _) in enumerate(runner.lines) if what == "owe"]
    # a question, like where a snapshot may lie, names no trace: only what leaves one has to be owed
    done = [index for index, (what, line) in enumerate(runner.lines) if what == "run" and TRACE in line]
    assert len(owed) == len(done)
    assert all(before < after for before, after in zip(owed, done, strict=True))
    keys = [key for what, key in runner.lines if what == "owe"]
    provider.drop(runner, taken)
    assert [key for what, key in runner.lines if what == "settle"] == keys[::-1] == list(taken.keys[::-1])


def test_every_path_is_shown_at_its_true_path(provider: SnapshotProvider) -> None:
    paths = claimed(provider)
    taken = provider.take(Transcript(), paths, FACTS)
    shown = [bind.true_path for bind in taken.binds]
    assert set(paths) <= set(shown)
    assert len(shown) == len(set(shown))
    assert taken.method == provider.name
    assert all(isinstance(bind, Bind) and bind.snapshot_path.startswith("/") for bind in taken.binds)


def test_the_claim_and_the_snapshot_agree_on_consistency(provider: SnapshotProvider) -> None:
    paths = claimed(provider)
    taken = provider.take(Transcript(), paths, FACTS)
    for path in paths:
        claim = provider.can_take(path, FACTS)
        assert isinstance(claim, Claim)
        assert claim.consistency is taken.consistency


def test_whatever_is_made_carries_the_name_of_its_run(provider: SnapshotProvider) -> None:
    runner = Transcript()
    taken = provider.take(runner, claimed(provider), FACTS)
    assert all(runner.name in line for what, line in runner.lines if what == "run")
    moved = [bind for bind in taken.binds if bind.snapshot_path != bind.true_path]
    assert all(f"/.{runner.name}/" in bind.snapshot_path for bind in moved)
    if moved:
        assert provider.leftover_places(FACTS)


def test_the_best_provider_wins() -> None:
    assert choose("/data", FACTS)[0].name == "btrfs"
    assert choose("/bare", FACTS)[0].name == "live"


def test_every_mount_has_an_ability_with_a_reason() -> None:
    for mount in FACTS.mounts:
        method, consistency, reason = snapshot_ability(mount, FACTS)
        assert (method == "live") == (consistency is Consistency.NONE)
        assert reason


def test_nested_subvolumes_are_shown_each_and_those_of_other_runs_never() -> None:
    taken = providers()["btrfs"].take(Transcript(), ["/data"], FACTS)
    base = "/data/.hotfleet-c1-r1"
    assert taken.binds == (Bind(f"{base}/0", "/data"), Bind(f"{base}/1", "/data/nested"))


def test_sources_of_one_subvolume_share_its_snapshot() -> None:
    taken = providers()["btrfs"].take(Transcript(), ["/data/a", "/data/b"], FACTS)
    base = "/data/.hotfleet-c1-r1/0"
    assert taken.binds == (Bind(f"{base}/a", "/data/a"), Bind(f"{base}/b", "/data/b"))


def test_a_subvolume_covered_by_another_mount_is_not_taken() -> None:
    covered = make_facts(make_mount("/data/nested", "xfs", "8:18"))
    taken = providers()["btrfs"].take(Transcript(), ["/data"], covered)
    assert [bind.true_path for bind in taken.binds] == ["/data"]


def test_a_read_only_btrfs_is_not_claimed() -> None:
    facts = make_facts(make_mount("/ro", "btrfs", "0:41", "/", "ro"))
    assert isinstance(providers()["btrfs"].can_take("/ro", facts), Refusal)
