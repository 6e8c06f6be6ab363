"""The swap of a comeback, as both shells make it: what was accepted stays, what was put back stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agents.returning import swapping
from tests.agents.restoring_ground import SHELLS
from tests.agents.returning_ground import NAME, Swap

pytestmark = pytest.mark.usefixtures("needs_root")  # a comeback is root's work


@pytest.fixture(params=SHELLS)
def swap(request: pytest.FixtureRequest, tmp_path: Path) -> Swap:
    return Swap(tmp_path, request.param)


def assert_all_is(swap: Swap, word: str) -> None:
    """Everywhere that data, whole, and started on it; nothing of ours."""
    assert swap.told() == {word} and swap.runs.read_text() == word
    assert all(len([*seat.rglob("table")]) == 2 for seat in swap.seats)
    assert [each.name for each in swap.folder.rglob(".hotfleet*")] == []
    assert not swap.hold.parent.exists()


def test_what_was_accepted_stays_and_what_was_not_goes_back(swap: Swap) -> None:
    swap.make()
    swap.swap()
    assert swap.undo().returncode == 0
    assert_all_is(swap, "old")
    assert swap.undo().returncode == 0, "it may run twice"
    assert_all_is(swap, "old")


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("stays", ["new", "old"])
def test_what_was_accepted_or_put_back_stays_when_the_removal_of_the_other_dies(
    swap: Swap, stays: str, number: int
) -> None:
    swap.make()
    swap.swap()
    if stays == "new":
        swap.accept()
    swap.die_removing(number)
    assert swap.undo().returncode != 0
    swap.live()
    assert swap.undo().returncode == 0
    assert_all_is(swap, stays)


@pytest.mark.parametrize("mark", ["keep", "swapped", "good"])
def test_a_link_in_the_place_of_a_staging_leads_nobody_elsewhere(swap: Swap, mark: str) -> None:
    """Whoever owns the folder of a seat may put a folder of his own where the staging was."""
    swap.make()
    victim = swap.folder / "victim"
    victim.write_text("precious")
    first = swap.stagings[0]
    if mark != "keep":
        swap.swap()
    first.rename(first.with_name("aside"))
    first.mkdir()
    (first / mark).symlink_to(victim)
    if mark == "swapped":
        swap.act('swap_out() { :; }; swap_in() { :; }; swap_all "$@"')
    else:
        swap.act({"keep": f"ending=x\n{swapping._READY}", "good": swapping._GOOD}[mark])
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_kept_in_a_mounted_folder_is_kept_once(tmp_path: Path, shell: str) -> None:
    swap = Swap(tmp_path, shell, kind="whole")
    swap.make()
    swap.get_ready("before")
    swap.swap()
    swap.accept()
    swap.die_removing(0)
    assert swap.undo().returncode != 0
    swap.live()
    done = swap.undo()
    assert (done.returncode, done.stderr) == (0, "")
    for seat in swap.seats:
        assert (seat / "table").read_text() == "new"
        assert (seat / "before" / "far" / "table").read_text() == "old"
        assert sorted(each.name for each in seat.iterdir()) == ["before", "far", "table"]
    assert swapping.kept_in(done.stdout) == tuple(f"{seat}/before" for seat in swap.seats)


@pytest.mark.parametrize("kind", ["-", "whole"])
@pytest.mark.parametrize("shell", SHELLS)
def test_only_what_was_there_is_told_as_kept(tmp_path: Path, shell: str, kind: str) -> None:
    swap = Swap(tmp_path, shell, kind=kind)
    gone = swap.seats[1]
    shutil.rmtree(gone)
    if kind == "whole":
        gone.mkdir()
    swap.make()
    swap.get_ready("before")
    swap.swap()
    swap.accept()
    done = swap.undo()
    assert done.returncode == 0
    kept = swap.seats[0] / "before" if kind == "whole" else swap.seats[0].with_name("data.before")
    assert swapping.kept_in(done.stdout) == (str(kept),)
    assert (kept / "far" / "table").read_text() == "old"
    assert [each.name for each in swap.folder.rglob("*before")] == [kept.name]


def lose_journal(swap: Swap) -> None:
    """Nobody knows any more what was decided."""
    shutil.rmtree(swap.hold.parent)


@pytest.mark.parametrize("kind", ["-", "whole"])
@pytest.mark.parametrize("shell", SHELLS)
def test_the_next_one_never_removes_what_nobody_can_put_back(tmp_path: Path, shell: str, kind: str) -> None:
    swap = Swap(tmp_path, shell, kind=kind)
    swap.make()
    swap.swap()
    left = swap.stagings[0]
    lose_journal(swap)
    swap.rename("hotfleet-c0-r1")
    assert swap.make_one(0).stdout == f"earlier {left.name}\n"
    assert not swap.stagings[0].exists() and (left / "old").is_dir()


@pytest.mark.parametrize("kind", ["-", "whole"])
@pytest.mark.parametrize("shell", SHELLS)
def test_what_was_accepted_before_its_journal_was_lost_is_in_nobodys_way(
    tmp_path: Path, shell: str, kind: str
) -> None:
    swap = Swap(tmp_path, shell, kind=kind)
    swap.make()
    swap.swap()
    swap.accept()
    lose_journal(swap)
    swap.rename("hotfleet-c0-r1")
    swap.make()


def test_what_a_living_run_made_is_in_nobodys_way(swap: Swap) -> None:
    swap.make()
    swap.swap()
    (swap.living / NAME).mkdir()
    swap.rename("hotfleet-c0-r1")
    swap.make()


def test_what_came_to_the_place_of_nothing_is_not_started_for_ever(swap: Swap) -> None:
    for seat in swap.seats:
        shutil.rmtree(seat)
    swap.runs.unlink()
    swap.make()
    does_not_start = """
    keeper_note() { : >"$hold/ran"; echo it >"$hold/names"; }
    keeper_start() { [ ! -s "$1" ]; }
    """
    assert swap.act(f"{does_not_start}\nending=\n{swapping._READY}").returncode == 0
    assert swap.act(does_not_start + swapping._SWAP).returncode != 0
    assert swap.act(does_not_start + swapping._UNDO).returncode != 0, "that is told once"
    assert swap.act(does_not_start + swapping._UNDO).returncode == 0
    assert swap.told() == {"new"}


@pytest.mark.parametrize(("owner", "expected"), [("-", 0), ("65534:65533", 65534)])
def test_a_folder_that_is_missing_is_made_for_whoever_writes_there(
    swap: Swap, owner: str, expected: int
) -> None:
    folder = swap.folder / "gone" / "app"
    swap.seats, swap.owner = [folder / "data"], owner
    swap.rename(NAME)
    done = swap.make_one(0)
    assert done.returncode == 0 and done.stdout.startswith("made free "), (done.stdout, done.stderr)
    assert (folder.stat().st_uid, folder.parent.stat().st_uid) == (expected, 0)
    swap.rename("hotfleet-c0-r1")
    assert swap.make_one(0).stdout.startswith("free "), "nothing is missing any more"
