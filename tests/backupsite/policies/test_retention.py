"""What stays and what may go: by example, and for invented policies, histories and attackers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupsite.policies.retention import (
    PERIODS,
    Copy,
    Fate,
    Rules,
    find_departures,
    foresee,
    judge,
    quarter_of,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
ROUNDS = 10_000 if os.environ.get("HOTFLEET_CAMPAIGN") == "full" else 150
DAY = timedelta(days=1)


def copies(*ages_h: float, is_good: bool = True, start: int = 0) -> list[Copy]:
    return [Copy(start + n, NOW - timedelta(hours=age), is_good) for n, age in enumerate(ages_h)]


def kept(fates: Iterable[Fate]) -> set[object]:
    return {fate.copy.key for fate in fates if fate.stays}


def test_the_newest_of_each_day_stays_and_says_why() -> None:
    fates = judge(copies(1, 5, 20, 30, 60, 100), Rules(daily=2), NOW, UTC)
    assert kept(fates) == {0, 2}
    assert fates[0].reasons == ["the newest good one", "the newest of the day 2026-11-22"]
    assert fates[2].reasons == ["the newest of the day 2026-11-21"]


def test_days_are_those_of_the_time_zone() -> None:
    """23:30 UTC of the 20th is the 21st in Berlin, 22:30 is not."""
    made = [datetime(2026, 11, 20, hour, 30, tzinfo=UTC) for hour in (22, 23)]
    both = [Copy(n, at) for n, at in enumerate(made)]
    assert kept(judge(both, Rules(daily=2), NOW, BERLIN)) == {0, 1}
    assert kept(judge(both, Rules(daily=2), NOW, UTC)) == {1}


def test_days_without_a_copy_do_not_count() -> None:
    assert kept(judge(copies(1, 24 * 100, 24 * 200, 24 * 300), Rules(daily=3), NOW, UTC)) == {0, 1, 2}


@pytest.mark.parametrize(
    ("rules", "stays"),
    [
        (Rules(last=3), {0, 1, 2}),
        (Rules(weekly=2), {0, 5}),
        (Rules(last=1, youngest=timedelta(hours=30)), {0, 1, 2}),
        (Rules(daily=100, oldest=3 * DAY), {0, 2, 3}),
        (Rules(), {0}),
    ],
)
def test_rules(rules: Rules, stays: set[int]) -> None:
    assert kept(judge(copies(1, 5, 20, 60, 24 * 6, 24 * 7 + 2), rules, NOW, UTC)) == stays


def test_what_is_not_good_never_takes_the_place_of_what_is() -> None:
    good = copies(48, 72, 96)
    bad = copies(*range(1, 40), is_good=False, start=100)
    alone = kept(judge(good, Rules(last=1, daily=2, hourly=3), NOW, UTC))
    assert alone <= kept(judge([*good, *bad], Rules(last=1, daily=2, hourly=3), NOW, UTC))


def test_a_flood_within_minutes_counts_as_one_of_the_last() -> None:
    trusted = copies(2, 26, 50, 74)
    flood = [Copy(f"flood {n}", NOW - timedelta(seconds=n)) for n in range(500)]
    stays = kept(judge([*trusted, *flood], Rules(last=4), NOW, UTC))
    assert {0, 1} <= stays and len(stays) == 4 + 2


def test_the_last_good_one_stays_however_old_and_whatever_the_rules_are() -> None:
    old, *_ = copies(24 * 4000)
    fates = judge([old, *copies(1, 2, is_good=False, start=7)], Rules(last=1, oldest=DAY), NOW, UTC)
    assert old.key in kept(fates)


def test_without_a_good_one_the_newest_stays() -> None:
    assert 0 in kept(judge(copies(24 * 50, 24 * 60, is_good=False), Rules(daily=1), NOW, UTC))


def test_what_is_pinned_stays() -> None:
    pinned = replace(copies(24 * 900)[0], key="pinned", pins=("protected by ada",))
    fates = judge([*copies(1), pinned], Rules(last=1, oldest=DAY), NOW, UTC)
    assert fates[1].reasons == ["protected by ada"]


def test_when_clocks_are_set_back_the_hour_that_comes_twice_is_two() -> None:
    twice = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1)]  # both 02:30 in Berlin
    assert kept(judge([Copy(n, at) for n, at in enumerate(twice)], Rules(hourly=5), NOW, BERLIN)) == {0, 1}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (Rules(), "keeps nothing"),
        (Rules(daily=-1), "Write numbers"),
        (Rules(daily=10_001), "Write numbers"),
        (Rules(daily=1, youngest=-DAY), "minimum"),
        (Rules(daily=1, youngest=2 * DAY, oldest=DAY), "above the minimum"),
    ],
)
def test_bad_rules_say_why(rules: Rules, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rules.check()


def test_good_rules_have_a_sentence() -> None:
    rules = Rules(last=4, daily=14, youngest=2 * DAY, oldest=365 * DAY)
    rules.check()
    assert rules.sentence() == (
        "the last 4, 14 daily; nothing younger than 2 days goes; nothing older than 365 days stays"
    )
    assert Rules(youngest=DAY).sentence() == "the newest; nothing younger than 24 h goes"


def test_a_history_that_is_not_continued_goes_in_order_but_for_its_last() -> None:
    made = copies(1, 25, 49, 73)
    gone = [
        (at, copy.key) for at, copy in find_departures(made, Rules(daily=9, oldest=5 * DAY), NOW, UTC, days=9)
    ]
    assert [key for _, key in gone] == [3, 2, 1]
    assert gone[0][0] == NOW + 2 * DAY


def test_what_a_policy_will_keep() -> None:
    hourly = [NOW - timedelta(hours=age) for age in range(24 * 60, -1, -1)]
    shown = foresee(Rules(hourly=24, daily=14, weekly=4), hourly, UTC)
    assert shown[0][0] == NOW
    assert 24 + 12 + 2 <= len(shown) <= 24 + 14 + 4


# ---- invented ----------------------------------------------------------------------------------------------

RULES = st.builds(
    Rules,
    last=st.integers(0, 6),
    hourly=st.integers(0, 30),
    daily=st.integers(0, 10),
    weekly=st.integers(0, 6),
    monthly=st.integers(0, 4),
    yearly=st.integers(0, 3),
    youngest=st.integers(0, 24 * 9).map(lambda hours: timedelta(hours=hours)),
    oldest=st.none() | st.integers(24 * 10, 24 * 900).map(lambda hours: timedelta(hours=hours)),
)
ZONES = st.sampled_from([UTC, BERLIN, ZoneInfo("Pacific/Apia"), ZoneInfo("America/St_Johns")])
MOMENTS = st.integers(0, 60 * 24 * 800).map(lambda minutes: NOW - timedelta(minutes=minutes))
HISTORIES = st.lists(
    st.tuples(MOMENTS, st.booleans(), st.sampled_from([(), (), (), ("held",)])), max_size=60
).map(lambda rows: [Copy(n, at, good, pins) for n, (at, good, pins) in enumerate(rows)])


def assert_floors(fates: list[Fate], rules: Rules) -> None:
    stays = kept(fates)
    good = [fate.copy for fate in fates if fate.copy.is_good]
    assert not fates or fates[0].copy.key in stays or good
    assert not good or good[0].key in stays
    for fate in fates:
        if fate.copy.pins or fate.copy.made_at > NOW - rules.youngest:
            assert fate.stays


@settings(max_examples=ROUNDS, deadline=None)
@given(HISTORIES, RULES, ZONES)
def test_floors_hold_and_a_second_look_removes_nothing_more(
    history: list[Copy], rules: Rules, zone: ZoneInfo
) -> None:
    fates = judge(history, rules, NOW, zone)
    assert_floors(fates, rules)
    stays = [fate.copy for fate in fates if fate.stays]
    assert kept(judge(stays, rules, NOW, zone)) == {copy.key for copy in stays}


@settings(max_examples=ROUNDS, deadline=None)
@given(HISTORIES, RULES, ZONES, st.lists(MOMENTS, max_size=80))
def test_an_attacker_whose_copies_are_not_good_removes_nothing(
    history: list[Copy], rules: Rules, zone: ZoneInfo, floods: list[datetime]
) -> None:
    attacker = [Copy(f"evil {n}", at, False) for n, at in enumerate(floods)]
    good = {copy.key for copy in history if copy.is_good}
    before = kept(judge(history, rules, NOW, zone)) & good
    assert before <= kept(judge([*history, *attacker], rules, NOW, zone))


@settings(max_examples=ROUNDS, deadline=None)
@given(HISTORIES, RULES, ZONES, st.lists(MOMENTS, max_size=80))
def test_an_attacker_whose_copies_look_good_removes_no_more_than_time_would(
    history: list[Copy], rules: Rules, zone: ZoneInfo, floods: list[datetime]
) -> None:
    """A flood uses up as many places as it touches periods, never more: a thousand copies of one day are
    one."""
    since = max(floods, default=NOW)
    history = [copy for copy in history if copy.made_at < min(floods, default=NOW)]
    attacker = [Copy(f"evil {n}", at) for n, at in enumerate(floods)]
    fates = judge([*history, *attacker], rules, NOW, zone)
    assert since <= NOW
    limit = NOW - rules.oldest if rules.oldest is not None else None
    trusted = sorted((c for c in history if c.is_good), key=lambda copy: copy.made_at, reverse=True)
    buckets = [quarter_of, *(bucket for _, bucket in PERIODS)]
    for bucket, count in zip(buckets, rules.counts, strict=True):
        taken = {bucket(at, zone) for at in floods if limit is None or at > limit}
        wanted: dict[object, Copy] = {}
        for copy in trusted:
            if limit is None or copy.made_at > limit:
                wanted.setdefault(bucket(copy.made_at, zone), copy)
        mine = [copy.key for period, copy in wanted.items() if period not in taken]
        assert set(mine[: max(count - len(taken), 0)]) <= kept(fates)
    assert_floors(fates, rules)


@settings(max_examples=max(ROUNDS // 10, 30), deadline=None)
@given(RULES, ZONES, st.integers(2, 60), st.integers(1, 36))
def test_looking_each_day_keeps_what_looking_once_would(
    rules: Rules, zone: ZoneInfo, count: int, step_h: int
) -> None:
    """Whoever removes after each run has at the end what one removal at the end would leave."""
    times = [NOW - timedelta(hours=step_h * age) for age in range(count, -1, -1)]
    step_by_step = {at for at, _ in foresee(rules, times, zone)}
    at_once = judge([Copy(at, at) for at in times], rules, NOW, zone)
    assert kept(at_once) <= step_by_step
