"""Copies that look wrong: by example, and for invented histories with an attacker."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupsite.policies.retention import Copy, Rules, judge
from backupsite.policies.retention_doubt import Looked, Measured, find_doubts

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ROUNDS = 10_000 if os.environ.get("HOTFLEET_CAMPAIGN") == "full" else 200


def made(*sizes: int, files: int = 100, stored: int = 0) -> list[Measured]:
    """Copies of these sizes, an hour apart, the last one now; the first is all new."""
    return [
        Measured(n, NOW - HOUR * (len(sizes) - 1 - n), size, files, size if n == 0 else stored)
        for n, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("sizes", "doubted"),
    [
        ((10_000_000,), set()),
        ((10_000_000, 9_000_000, 11_000_000), set()),
        ((10_000_000, 10_000_000, 0), {2}),
        ((10_000_000, 10_000_000, 4_000_000), {2}),
        ((10_000_000, 10_000_000, 40_000_000), set()),
        # A copy that is doubted is no measure for the next one.
        ((10_000_000, 10_000_000, 0, 0, 0, 0), {2, 3, 4, 5}),
        ((0, 0, 0), set()),
    ],
)
def test_what_was_emptied_is_doubted(sizes: tuple[int, ...], doubted: set[int]) -> None:
    assert set(find_doubts(made(*sizes), Looked())) == doubted


def test_shrinking_slowly_is_seen() -> None:
    sizes = [int(10_000_000 * 0.93**n) for n in range(60)]
    doubts = find_doubts(made(*sizes), Looked())
    assert doubts and min(int(str(key)) for key in doubts) > 10


def test_fewer_files_are_doubted_whatever_their_size() -> None:
    before = made(*[10_000_000] * 4)
    one = Measured("one", NOW + HOUR, 10_000_000, 1, 0)
    assert find_doubts([*before, one], Looked()) == {"one": "It holds 1 file; before there were 100 files."}


def test_everything_new_is_doubted_when_little_was_new() -> None:
    before = made(*[10_000_000] * 5, stored=50_000)
    encrypted = Measured("all", NOW + HOUR, 10_000_000, 100, 9_900_000)
    assert "99% of it is new" in find_doubts([*before, encrypted], Looked())["all"]
    dumps = made(*[10_000_000] * 5, stored=9_000_000)
    assert not find_doubts([*dumps, encrypted], Looked()), "what is new each time is usual"


def test_what_a_person_looked_at_is_trusted_and_small_enough() -> None:
    listed = made(10_000_000, 10_000_000, 1_000_000, 1_000_000, 10_000_000, 1_100_000, 900_000)
    assert set(find_doubts(listed, Looked(NOW - 3 * HOUR))) == {6}


def test_what_was_looked_at_when_it_was_made_is_not_doubted_later() -> None:
    """When only some of a history are left, what shrank slowly looks as if it had shrunk at once."""
    thinned = made(10_000_000, 4_000_000, 4_100_000)
    assert set(find_doubts(thinned, Looked())) == {1, 2}
    assert not find_doubts(thinned, Looked(since=NOW - HOUR))


@settings(max_examples=ROUNDS, deadline=None)
@given(
    st.lists(st.integers(8_000_000, 12_000_000), min_size=4, max_size=40),
    st.lists(st.tuples(st.integers(0, 3_900_000), st.integers(0, 10**7)), min_size=1, max_size=60),
    st.builds(
        Rules,
        last=st.integers(0, 6),
        hourly=st.integers(0, 30),
        daily=st.integers(0, 9),
        weekly=st.integers(0, 5),
    ),
)
def test_a_device_that_sends_emptied_copies_removes_nothing_that_is_trusted(
    sizes: list[int], flood: list[tuple[int, int]], rules: Rules
) -> None:
    """However many, whatever they say was stored: as if they were not there."""
    trusted = made(*sizes, stored=1000)
    evil = [
        Measured(f"evil {n}", NOW + timedelta(minutes=n + 1), size, 100, stored)
        for n, (size, stored) in enumerate(flood)
    ]
    doubts = find_doubts([*trusted, *evil], Looked())
    assert set(doubts) == {each.key for each in evil}
    later = NOW + timedelta(minutes=61)
    alone = [Copy(each.key, each.made_at) for each in trusted]
    both = [Copy(each.key, each.made_at, each.key not in doubts) for each in (*trusted, *evil)]
    before = {fate.copy.key for fate in judge(alone, rules, later, UTC) if fate.stays}
    assert before <= {fate.copy.key for fate in judge(both, rules, later, UTC) if fate.stays}
