"""In which order runs that wait are taken."""

from __future__ import annotations

import heapq
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from backupsite.runs import places
from backupsite.runs.places import FIRST, LAST, LONGEST_OVERTAKEN, STEP, USUAL, place_asked, place_backup

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
H = timedelta(hours=1)
moments = some.integers(-(10**8), 10**8).map(lambda seconds: NOW + timedelta(seconds=seconds))
priorities = some.sampled_from([FIRST, USUAL, LAST])
sizes = some.none() | some.integers(0, 2**70)


def place(
    late: timedelta = timedelta(0), priority: int = USUAL, size: int | None = 1, at: datetime = NOW
) -> datetime:
    return place_backup(at, priority=priority, wanted_by=at - late, size_bytes=size)


def test_the_longest_without_a_good_backup_against_its_target_goes_first() -> None:
    lates = [30 * 24 * H, 2 * 24 * H, 24 * H, 2 * H, H, 0 * H, -H, -2 * H, -24 * H, -30 * 24 * H]
    # Far from the target, what differs by minutes is equal; these do not.
    stands = [place(late) for late in lates]
    assert stands == sorted(stands)
    assert len(set(stands)) == len(stands)


def test_the_priority_of_the_policy_comes_before_the_target() -> None:
    assert place(-1000 * H, FIRST) < place(1000 * H, USUAL)
    assert place(-1000 * H, USUAL) < place(1000 * H, LAST)
    later = NOW + places.BY_PRIORITY - 2 * places.BY_TARGET - 2 * STEP
    assert place(-1000 * H, FIRST, at=later) < place(1000 * H, USUAL)


def test_of_equals_the_small_one_goes_first_and_the_unknown_one_last() -> None:
    stands = [place(size=size) for size in (0, 10**6, 10**9, 10**12, 2**62, None)]
    assert stands == sorted(stands)
    assert len(set(stands)) == len(stands)
    assert place(10 * H, size=None) < place(9 * H, size=0), "size decides among equals only"


def test_what_a_person_asks_for_goes_before_what_is_asked_for_by_itself_then() -> None:
    assert place_asked(NOW) < place(1000 * H, FIRST)


@given(moments, moments, priorities, priorities, some.none() | moments, some.none() | moments, sizes, sizes)
def test_after_a_day_nothing_that_comes_later_overtakes(
    asked: datetime,
    other: datetime,
    priority: int,
    other_priority: int,
    wanted: datetime | None,
    other_wanted: datetime | None,
    size: int | None,
    other_size: int | None,
) -> None:
    mine = place_backup(asked, priority=priority, wanted_by=wanted, size_bytes=size)
    theirs = place_backup(other, priority=other_priority, wanted_by=other_wanted, size_bytes=other_size)
    assert timedelta(hours=22) < LONGEST_OVERTAKEN < timedelta(hours=24)
    if other - asked >= LONGEST_OVERTAKEN:
        assert mine < theirs
        assert mine < place_asked(other)


@pytest.mark.parametrize("share_that_fails", [0.0, 0.3])
def test_nobody_starves_though_there_is_more_to_do_than_can_be_done(share_that_fails: float) -> None:
    """A month of a fleet whose workers do two thirds of what is asked for: each waiting run is of the order
    of the others' waiting, and never overtaken for more than a day."""
    chance = random.Random(3)
    devices = 60
    good_at = [NOW] * devices
    waiting: list[tuple[datetime, datetime, int]] = []
    queued = [False] * devices
    taken: list[int] = [0] * devices
    for hour in range(24 * 30):
        now = NOW + hour * H
        for device in range(devices):
            if not queued[device]:
                queued[device] = True
                priority = (FIRST, USUAL, USUAL, LAST)[device % 4]
                stands = place_backup(
                    now, priority=priority, wanted_by=good_at[device] + 3 * H, size_bytes=10**device
                )
                heapq.heappush(waiting, (stands, now, device))
        for _ in range(devices // 4):
            _, asked_at, device = heapq.heappop(waiting)
            newest_overtaken = min((asked for _, asked, _ in waiting), default=asked_at)
            assert asked_at - newest_overtaken < LONGEST_OVERTAKEN
            queued[device] = False
            taken[device] += 1
            if chance.random() >= share_that_fails:
                good_at[device] = now
    assert min(taken) >= 10, taken
