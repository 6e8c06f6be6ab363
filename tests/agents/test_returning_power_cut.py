"""A power cut anywhere in a comeback, as both shells see it: the next who connects puts back, or ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.events import Event, Level, Said
from agents.returning import healing, swapping
from tests.agents.restoring_ground import SHELLS
from tests.agents.returning_ground import NAME, Swap

pytestmark = pytest.mark.usefixtures("needs_root")  # a comeback is root's work

_CUT = 'kill -s KILL "$$"'
# Before which line everything ends: the first time, but for the second staging where one is gone.
HALF = {
    "stopped": '  for staging in "$@"; do swap_out',
    "one gone": "  mkdir -p old in away leaving || return 1",
    "old gone": '  for staging in "$@"; do swap_in',
    "new marked": '    like_before "$name"\n',
}
WHOLE = {"new in": '  cd / && : >"$hold/swapped"\n', "swapped": "stays() {"}
BACK = {
    "new away": '    rm -f -- "in/$name" || return 1\n',
    "old back": '  [ "$back_status" = 1 ] || rm -f',
    "before the end": '  [ -e "$hold/ended" ] || [ ! -e "$hold/moved" ]',
    "ended": '  for staging in "$@"; do\n    (cd --',
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["-", "whole"])
def swap(request: pytest.FixtureRequest, tmp_path: Path, shell: str) -> Swap:
    return Swap(tmp_path, shell, kind=request.param)


def cut_before(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    functions = swapping._functions()
    assert functions.count(line) == 1, line
    death = f'[ "${{staging##*-}}" = 0 ] || {_CUT}' if line == HALF["one gone"] else _CUT
    monkeypatch.setattr(swapping, "_functions", lambda: functions.replace(line, f"{death}\n{line}"))


def cut(swap: Swap, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """The journal of the device is whole; who swaps is cut off."""
    swap.make()
    swap.get_ready()
    with monkeypatch.context() as patch:
        if line == WHOLE["swapped"]:
            assert swap.act(swapping._SWAP).returncode == 0
        else:
            cut_before(patch, line)
            assert swap.act(swapping._SWAP).returncode != 0
    swap.lose_power()


def assert_is(swap: Swap, word: str) -> None:
    assert swap.told() == {word} and swap.runs.read_text() == word
    assert [each.name for each in swap.folder.rglob(".hotfleet*")] == []
    assert not swap.hold.parent.exists()


def kept(swap: Swap) -> list[str]:
    return [str(each) for each in swap.folder.rglob(f"*before-{NAME}")]


def test_what_is_decided_is_on_the_disk_before_what_follows(swap: Swap) -> None:
    def synced() -> set[str]:
        told = set(swap.synced.read_text().splitlines())
        swap.synced.unlink()
        return told

    folders = {str(swap.folder_of(seat)) for seat in swap.seats}
    swap.make()
    assert synced() == {str(swap.hold)}, "the way back, before there is anything"
    swap.get_ready()
    assert synced() == {*folders, str(swap.hold)}, "what came, before anything stands still"
    swap.swap()
    swap.accept()
    assert synced() >= {*map(str, swap.stagings), str(swap.hold)}, "what answered, before nothing goes back"
    assert swap.undo().returncode == 0
    assert synced() == folders, "what is in its place, before the other is removed"


@pytest.mark.parametrize("place", HALF)
def test_what_is_half_goes_back(swap: Swap, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    cut(swap, monkeypatch, HALF[place])
    swap.boot()
    done = swap.heal()
    assert (done.returncode, done.stderr) == (0, "")
    assert ("what was there before is in its place" in done.stdout) == (place != "stopped")
    assert_is(swap, "old")
    assert kept(swap) == []
    assert swap.heal().returncode == 0, "it may run twice"
    assert_is(swap, "old")


@pytest.mark.parametrize("place", WHOLE)
def test_what_came_and_runs_stays_and_the_old_is_kept(
    swap: Swap, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    cut(swap, monkeypatch, WHOLE[place])
    swap.boot()
    (swap.seats[0] / "written since").touch()
    done = swap.heal()
    assert (done.returncode, done.stderr) == (0, "")
    assert_is(swap, "new")
    assert (swap.seats[0] / "written since").exists()
    told: list[Event] = []
    healing.tell_healed(done.stdout, told.append)
    assert [each.level for each in told if isinstance(each, Said)] == [Level.WARNING] * 3
    assert sorted(kept(swap)) == sorted(swapping.kept_in(done.stdout))
    tables = [table for path in kept(swap) for table in Path(path).rglob("table")]
    assert len(tables) == 4 and {table.read_text() for table in tables} == {"old"}


@pytest.mark.parametrize("place", WHOLE)
def test_what_came_and_does_not_run_goes_back(
    swap: Swap, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    cut(swap, monkeypatch, WHOLE[place])
    assert swap.heal().returncode == 0
    assert_is(swap, "old")
    assert kept(swap) == []


def test_what_is_not_over_in_the_same_life_goes_back(swap: Swap) -> None:
    """Only a power cut can have let somebody write there meanwhile."""
    swap.make()
    swap.swap()
    assert swap.heal().returncode == 0
    assert_is(swap, "old")


@pytest.mark.parametrize("place", BACK)
def test_a_second_power_cut_on_the_way_back_changes_nothing(
    swap: Swap, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    swap.make()
    swap.swap()
    end_and_cut(swap, monkeypatch, place)
    assert swap.heal().returncode == 0
    assert_is(swap, "old")
    assert kept(swap) == []


@pytest.mark.parametrize("place", ["before the end", "ended"])
def test_what_was_accepted_stays(swap: Swap, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    swap.make()
    swap.swap()
    swap.accept()
    end_and_cut(swap, monkeypatch, place)
    assert swap.heal().returncode == 0
    assert_is(swap, "new")
    assert kept(swap) == []


def end_and_cut(swap: Swap, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    with monkeypatch.context() as patch:
        cut_before(patch, BACK[place])
        assert swap.act(swapping._UNDO).returncode != 0
    swap.lose_power()
    swap.boot()


def test_before_anything_moved_only_the_stagings_go(swap: Swap) -> None:
    swap.make()
    swap.lose_power()
    swap.boot()
    assert swap.heal().returncode == 0
    assert_is(swap, "old")


def test_a_journal_without_a_way_back_is_of_nothing(swap: Swap) -> None:
    swap.hold.mkdir(parents=True)
    (swap.hold / "undo.new").write_text("half of")
    assert swap.heal().returncode == 0
    assert not swap.hold.parent.exists()


def test_while_its_file_system_is_not_mounted_it_waits(swap: Swap, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(swap, monkeypatch, HALF["old gone"])
    aside = swap.folder / "aside"
    away = swap.folder_of(swap.seats[1])
    away.rename(aside)
    done = swap.heal()
    assert done.returncode != 0 and "is gone" in done.stderr
    aside.rename(away)
    assert swap.heal().returncode == 0
    assert_is(swap, "old")


@pytest.mark.parametrize(
    "path", ["/var/lib/hotfleet", "/var/lib/hotfleet/hotfleet-a-b/c", "/srv/hotfleet-a-b"]
)
def test_nothing_else_is_taken_for_a_journal(swap: Swap, path: str) -> None:
    assert swap.call(healing._HEAL, path, "/var/lib/hotfleet").returncode != 0
