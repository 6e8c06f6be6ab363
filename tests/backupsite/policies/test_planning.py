"""When runs really start: blocked hours move them to their end, as one, also where the clocks are set."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backupsite.policies.blocked import EVERY_DAY, Blocked
from backupsite.policies.planning import Planner
from backupsite.policies.schedule import Schedule
from backupsite.policies.windows import WINDOW_LASTS
from tests.backupsite.policies.test_schedule import keys, moments, schedules
from tests.backupsite.policies.zone_changes import list_changes

BERLIN = "Europe/Berlin"
WORK = (("01234", time(8), time(18)),)
NIGHT = ((EVERY_DAY, time(22), time(6)),)
MINUTE = timedelta(minutes=1)


def blocked(*hours: tuple[str, time, time], zone: str = BERLIN) -> Blocked:
    return Blocked(hours, zone)


def planner(schedule: Schedule, *hours: tuple[str, time, time], is_cold: bool = False) -> Planner:
    return Planner(schedule, Blocked(hours, schedule.time_zone), is_cold)


def at(text: str, zone: str = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def shown(times: list[datetime], zone: str = BERLIN) -> list[str]:
    return [f"{each.astimezone(ZoneInfo(zone)):%a %H:%M}" for each in times]


def starts(plan: Planner, moment: datetime, count: int, key: str = "") -> list[datetime]:
    return [start.at for start in islice(plan.starts_after(moment, spread_by=key), count)]


weekdays = st.sets(st.sampled_from(EVERY_DAY), min_size=1).map(lambda days: "".join(sorted(days)))
hours = st.tuples(weekdays, st.times(), st.times())
some_hours = st.lists(hours, max_size=3).map(tuple)


def test_hourly_runs_leave_working_hours_out_and_come_once_at_their_end() -> None:
    hourly = planner(Schedule("every", every_minutes=60, time_zone=BERLIN), *WORK)
    # 2026-11-23 is a Monday.
    found = starts(hourly, at("2026-11-23 06:30"), 4)
    assert shown(found) == ["Mon 07:00", "Mon 18:00", "Mon 19:00", "Mon 20:00"]


def test_a_daily_run_in_blocked_hours_waits_for_their_end_from_whenever_one_looks() -> None:
    daily = planner(Schedule("daily", at_time=time(9), time_zone=BERLIN), *WORK)
    for moment in ("2026-11-23 07:00", "2026-11-23 09:00", "2026-11-23 12:00", "2026-11-23 17:59:59"):
        assert shown(starts(daily, at(moment), 2)) == ["Mon 18:00", "Tue 18:00"]
    assert shown(starts(daily, at("2026-11-27 18:00"), 2)) == ["Sat 09:00", "Sun 09:00"]


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    friday = blocked(("4", time(22), time(6)))
    assert [friday.is_blocked(at(f"2026-11-{text}")) for text in ("27 21:59:59", "27 22:00", "28 05:59")] == [
        False,
        True,
        True,
    ]
    assert not friday.is_blocked(at("2026-11-28 06:00"))
    assert not friday.is_blocked(at("2026-11-28 22:30"))
    assert friday.free_after(at("2026-11-27 23:00")) == at("2026-11-28 06:00")


def test_hours_that_touch_are_one_block() -> None:
    both = blocked((EVERY_DAY, time(8), time(12)), (EVERY_DAY, time(12), time(14)))
    assert both.free_after(at("2026-11-23 09:00")) == at("2026-11-23 14:00")
    assert both.began(at("2026-11-23 13:00")) == at("2026-11-23 08:00")
    assert both.began(at("2026-11-23 14:00")) == at("2026-11-23 14:00")


def test_an_hour_that_comes_twice_is_blocked_twice_and_one_that_is_skipped_is_not() -> None:
    # Berlin: 2026-10-25 03:00 becomes 02:00, 2026-03-29 02:00 becomes 03:00.
    half = blocked((EVERY_DAY, time(1), time(2, 30)))
    assert half.free_after(at("2026-10-25 01:30")) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert half.free_after(at("2026-03-29 01:30")) == at("2026-03-29 03:00")
    gone = blocked((EVERY_DAY, time(2, 10), time(2, 50)))
    assert not gone.is_blocked(at("2026-03-29 03:00"))
    from_gone = blocked((EVERY_DAY, time(2, 30), time(4)))
    assert from_gone.began(at("2026-03-29 03:30")) == at("2026-03-29 03:00")


@given(some_hours, moments, st.sampled_from([BERLIN, "Australia/Lord_Howe", "America/Nuuk", "Africa/Cairo"]))
def test_free_after_is_the_first_free_moment(
    wanted: tuple[tuple[str, time, time], ...], moment: datetime, zone: str
) -> None:
    there = blocked(*wanted, zone=zone)
    free = there.free_after(moment)
    if free is None:
        assert all(there.is_blocked(moment + timedelta(minutes=17 * n)) for n in range(600))
        return
    assert not there.is_blocked(free)
    assert free == moment or there.is_blocked(free - timedelta(microseconds=1))
    for part in range(1, 20):
        between = moment + (free - moment) * part / 20
        assert between == free or there.is_blocked(between)
        assert there.free_after(between) == free


@pytest.mark.parametrize("zone", [BERLIN, "America/Nuuk", "Australia/Lord_Howe", "Antarctica/Troll"])
def test_what_the_clock_shows_is_what_is_blocked_around_every_change(zone: str) -> None:
    there = blocked((EVERY_DAY, time(1), time(3)), (EVERY_DAY, time(23), time(0)), zone=zone)
    for change in list_changes(zone):
        for n in range(-300, 300, 7):
            moment = change.at + n * MINUTE
            wall = moment.astimezone(ZoneInfo(zone))
            # Hours that come twice are one block: the end is the later one.
            if abs(n) > 180:
                assert there.is_blocked(moment) == (wall.hour in (1, 2, 23)), moment
            elif wall.hour in (1, 2, 23):
                assert there.is_blocked(moment), moment


@settings(deadline=None)
@given(schedules(), some_hours, moments, keys, st.booleans())
def test_starts_are_never_blocked_never_double_and_the_same_from_any_moment(
    schedule: Schedule, wanted: tuple[tuple[str, time, time], ...], moment: datetime, key: str, is_cold: bool
) -> None:
    plan = planner(schedule, *wanted, is_cold=is_cold)
    found = list(islice(plan.starts_after(moment, spread_by=key), 5))
    for start in found:
        assert not plan.blocked.is_blocked(start.at)
        assert start.due <= start.at
        assert not is_cold or start.at - start.due <= WINDOW_LASTS
        assert plan.blocked.free_after(start.due) == start.at
    times = [start.at for start in found]
    assert all(moment < each for each in times)
    for sooner, later in pairwise(times):
        assert sooner < later
        for part in (0.0, 0.3, 0.999):
            assert plan.next_after(sooner + (later - sooner) * part, spread_by=key) == later


@settings(deadline=None)
@given(schedules(), some_hours, moments, keys)
def test_no_time_of_a_schedule_is_lost(
    schedule: Schedule, wanted: tuple[tuple[str, time, time], ...], moment: datetime, key: str
) -> None:
    plan = planner(schedule, *wanted)
    if plan.blocked.free_after(moment) is None:
        return
    last = moment + timedelta(days=15)
    times = list(islice(takewhile(lambda due: due < last, schedule.times_after(moment, spread_by=key)), 200))
    wants = {plan.blocked.free_after(due) for due in times}
    found = set(starts(plan, moment, 200, key))
    assert all(each in found for each in wants if each is not None and each < max(found, default=moment))


def test_without_hours_nothing_is_moved() -> None:
    schedule = Schedule("daily", at_time=time(2, 30), time_zone=BERLIN)
    moment = at("2026-03-01 00:00")
    assert starts(planner(schedule), moment, 60, "x") == list(
        islice(schedule.times_after(moment, spread_by="x"), 60)
    )


def test_a_week_without_a_free_minute_is_refused() -> None:
    hourly = Schedule("every", every_minutes=60, time_zone=BERLIN)
    for all_week in (
        ((EVERY_DAY, time(0), time(0)),),
        ((EVERY_DAY, time(6), time(6)),),
        ((EVERY_DAY, time(8), time(20)), (EVERY_DAY, time(20), time(8))),
    ):
        plan = planner(hourly, *all_week)
        with pytest.raises(ValueError, match="block the whole week"):
            plan.check(at("2026-11-23 00:00"))
        assert plan.next_after(at("2026-11-23 00:00")) is None
    planner(hourly, (EVERY_DAY, time(0), time(23, 59))).check(at("2026-11-23 00:00"))


def test_a_cold_window_in_blocked_hours_is_refused_and_one_at_their_edge_waits() -> None:
    sunday = Schedule("weekly", at_time=time(3), weekday=6, time_zone=BERLIN)
    moment = at("2026-11-23 00:00")
    with pytest.raises(ValueError, match="nothing would ever be copied cold"):
        planner(sunday, (EVERY_DAY, time(0), time(6)), is_cold=True).check(moment)
    edge = planner(sunday, (EVERY_DAY, time(0), time(5)), is_cold=True)
    edge.check(moment)
    assert shown(starts(edge, moment, 1)) == ["Sun 05:00"]
    # Some of its times are free: the others are left out, nothing stops hours later.
    daily = planner(
        Schedule("daily", at_time=time(3), time_zone=BERLIN), ("6", time(0), time(6)), is_cold=True
    )
    daily.check(moment)
    assert shown(starts(daily, at("2026-11-27 12:00"), 2)) == ["Sat 03:00", "Mon 03:00"]


def test_by_hand_is_never_refused_for_its_hours_and_has_no_starts() -> None:
    plan = planner(Schedule("manual", time_zone=BERLIN), *WORK, is_cold=True)
    plan.check(at("2026-11-23 00:00"))
    assert plan.next_after(at("2026-11-23 00:00")) is None


def test_the_target_that_can_be_kept_counts_the_blocked_hours() -> None:
    moment = at("2026-11-23 00:00")
    hourly = Schedule("every", every_minutes=60, time_zone=BERLIN)
    assert planner(hourly).achievable_rpo(moment, 5 * MINUTE) == timedelta(minutes=60 + 5 + 2 + 5)
    working = planner(hourly, *WORK).achievable_rpo(moment, 5 * MINUTE)
    assert working == timedelta(hours=11, minutes=5 + 2 + 5)
    quarter = Schedule("every", every_minutes=15, time_zone=BERLIN)
    assert planner(quarter, ("6", time(0), time(0))).longest_gap(moment) == timedelta(hours=24, minutes=15)


def test_a_spread_that_a_policy_sets_stays_below_its_interval() -> None:
    assert Schedule("every", every_minutes=15, spread_minutes=60).spread == 15 * MINUTE
    assert Schedule("daily", at_time=time(2), spread_minutes=180).spread == 180 * MINUTE
    assert Schedule("daily", at_time=time(2), spread_minutes=0).spread_of("a device") == timedelta(0)
    with pytest.raises(ValueError, match="at most 12 hours"):
        Schedule("daily", at_time=time(2), spread_minutes=721).check()


def test_hours_in_words() -> None:
    assert blocked(*WORK, *NIGHT, ("56", time(0), time(0))).sentences() == [
        "Monday to Friday, 08:00 to 18:00",
        "every day, 22:00 to 06:00 of the next day",
        "Saturday and Sunday, all day",
    ]
    assert blocked(("024", time(8), time(8, 30))).sentences() == [
        "Monday, Wednesday and Friday, 08:00 to 08:30"
    ]


@settings(max_examples=150, deadline=None)
@given(schedules(), some_hours, moments, keys, st.booleans())
def test_no_device_waits_longer_than_the_longest_gap_that_is_promised(
    schedule: Schedule, hours: list[tuple[str, time, time]], moment: datetime, key: str, is_cold: bool
) -> None:
    plan = planner(schedule, *hours, is_cold=is_cold)
    own = [start.at for start in islice(plan.starts_after(moment, spread_by=key), 60)]
    gaps = [later - sooner for sooner, later in pairwise(own)]
    promised = plan.longest_gap(moment)
    # Both look ahead from the same moment, but no schedule looks ahead for ever.
    if gaps and own[-1] < moment + timedelta(days=60):
        assert promised is not None and max(gaps) <= promised


def test_a_spread_that_ends_in_blocked_hours_is_counted() -> None:
    daily = Schedule("daily", at_time=time(1), time_zone="UTC", spread_minutes=60)
    plan = Planner(daily, Blocked((("0", time(1, 30), time(5)),), "UTC"))
    moment = datetime(2026, 3, 2, tzinfo=UTC)
    # On Mondays who would start at 01:30 starts at 05:00.
    assert plan.longest_gap(moment) == timedelta(hours=27, minutes=30)
    assert Planner(daily, Blocked((), "UTC")).longest_gap(moment) == timedelta(days=1)
    touched = [max(b - a for a, b in pairwise(starts(plan, moment, 20, f"d{n}"))) for n in range(60)]
    assert timedelta(hours=27) < max(touched) <= timedelta(hours=27, minutes=30)
