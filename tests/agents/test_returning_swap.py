"""The swap of a comeback, as both shells make it: what was accepted stays, what was put back stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.agents.restoring_ground import SHELLS
from tests.agents.returning_ground import Swap

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a comeback is root's work")


@pytest.fixture(params=SHELLS)
def swap(request: pytest.FixtureRequest, tmp_path: Path) -> Swap:
    return Swap(tmp_path, request.param)


def assert_all_is(swap: Swap, word: str) -> None:
    """Everywhere that data, whole, and started on it; nothing of ours."""
    assert swap.told() == {word} and swap.runs.read_text() == word
    assert all(len([*seat.rglob("table")]) == 2 for seat in swap.seats)
    assert [each.name for each in swap.folder.rglob(".hotfleet*")] == []


def test_what_was_accepted_stays_and_what_was_not_goes_back(swap: Swap) -> None:
    swap.make()
    swap.swap()
    assert swap.undo().returncode == 0
    assert_all_is(swap, "old")
    assert swap.undo().returncode == 0, "it may run twice"
    assert_all_is(swap, "old")


@pytest.mark.parametrize("number", [0, 1])
def test_what_was_accepted_stays_when_the_removal_of_the_old_dies(swap: Swap, number: int) -> None:
    swap.make()
    swap.swap()
    swap.accept()
    swap.die_removing(number)
    assert swap.undo().returncode != 0
    swap.live()
    assert swap.undo().returncode == 0
    assert_all_is(swap, "new")


@pytest.mark.parametrize("number", [0, 1])
def test_what_was_put_back_stays_when_the_removal_of_the_new_dies(swap: Swap, number: int) -> None:
    swap.make()
    swap.swap()
    swap.die_removing(number)
    assert swap.undo().returncode != 0
    swap.live()
    assert swap.undo().returncode == 0
    assert_all_is(swap, "old")
