"""When a policy's times are, also where the clocks change."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backupsite.policies.blocked import Blocked
from backupsite.policies.planning import Planner
from backupsite.policies.schedule import Schedule

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Asia/Kathmandu",
]
FIRST = datetime(2025, 1, 1, tzinfo=UTC)
moments = st.integers(0, 5 * 366 * 86400).map(lambda seconds: FIRST + timedelta(seconds=seconds))
zones = st.sampled_from(ZONES)
FREE = Blocked((), "UTC")
keys = st.sampled_from(["", "a", "0b1c", "device"])


def daily(at: time, zone: str = "Europe/Berlin", weekday: int | None = None) -> Schedule:
    kind = "daily" if weekday is None else "weekly"
    return Schedule(kind, at_time=at, weekday=weekday, time_zone=zone)


def cron(expression: str, zone: str = "Europe/Berlin") -> Schedule:
    return Schedule("cron", cron=expression, time_zone=zone)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    zone, at = draw(zones), draw(st.times())
    return draw(
        st.sampled_from(
            [
                Schedule("every", every_minutes=draw(st.integers(5, 10080)), time_zone=zone),
                daily(at, zone),
                daily(at, zone, weekday=draw(st.integers(0, 6))),
                cron(f"{at.minute} {at.hour} * * *", zone),
                cron("*/20 * * * *", zone),
            ]
        )
    )


@given(schedules(), moments, keys)
def test_times_only_go_forward_and_are_where_they_were_from_any_moment_between(
    schedule: Schedule, moment: datetime, key: str
) -> None:
    times = list(islice(schedule.times_after(moment, spread_by=key), 4))
    assert moment < times[0]
    for sooner, later in pairwise(times):
        assert sooner < later
        between = sooner + (later - sooner) / 2
        assert schedule.next_after(between, spread_by=key) == later
        assert schedule.next_after(sooner, spread_by=key) == later


@given(st.times(), moments, zones)
def test_daily_is_once_on_each_local_date(at: time, moment: datetime, zone: str) -> None:
    times = list(islice(daily(at, zone).times_after(moment), 40))
    dates = [moment.astimezone(ZoneInfo(zone)).date() for moment in times]
    assert [later - sooner for sooner, later in pairwise(dates)] == [timedelta(days=1)] * 39


@given(moments, st.integers(5, 10080), keys)
def test_an_interval_is_elapsed_time_on_every_day(moment: datetime, minutes: int, key: str) -> None:
    schedule = Schedule("every", every_minutes=minutes, time_zone="Europe/Berlin")
    times = list(islice(schedule.times_after(moment, spread_by=key), 30))
    assert {later - sooner for sooner, later in pairwise(times)} == {timedelta(minutes=minutes)}
    assert times[0] - moment <= timedelta(minutes=minutes)


def test_a_time_that_the_clocks_skip_is_taken_after_the_change() -> None:
    # Berlin, 2026-03-29: 02:00 becomes 03:00.
    after = daily(time(2, 30)).upcoming(datetime(2026, 3, 28, 12, tzinfo=UTC), 2)
    assert [f"{at:%d %H:%M %z}" for at in after] == ["29 03:30 +0200", "30 02:30 +0200"]


def test_a_time_that_comes_twice_is_taken_once() -> None:
    # Berlin, 2026-10-25: 03:00 becomes 02:00.
    after = daily(time(2, 30)).upcoming(datetime(2026, 10, 24, 12, tzinfo=UTC), 2)
    assert [f"{at:%d %H:%M %z}" for at in after] == ["25 02:30 +0200", "26 02:30 +0100"]
    by_cron = cron("30 2 * * *").upcoming(datetime(2026, 10, 24, 12, tzinfo=UTC), 2)
    assert [f"{at:%d %H:%M}" for at in by_cron] == ["25 02:30", "26 02:30"]


def test_weekly_is_on_its_day_in_its_own_zone() -> None:
    schedule = daily(time(0, 30), "Pacific/Auckland", weekday=0)
    after = schedule.upcoming(datetime(2026, 11, 22, tzinfo=UTC), 2)
    assert [at.isoformat() for at in after] == ["2026-11-23T00:30:00+13:00", "2026-11-30T00:30:00+13:00"]


def test_devices_of_a_policy_are_spread_and_each_stays_where_it_is() -> None:
    schedule = Schedule("every", every_minutes=60)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [schedule.next_after(start, spread_by=f"device {n}") for n in range(500)]
    minutes = [at.minute for at in times if at is not None]
    assert len(set(minutes)) == 60
    assert max(minutes.count(minute) for minute in range(60)) < 25
    assert times == [schedule.next_after(start, spread_by=f"device {n}") for n in range(500)]


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (Schedule("every", every_minutes=60), "Every hour"),
        (Schedule("every", every_minutes=90), "Every 90 minutes"),
        (Schedule("every", every_minutes=240), "Every 4 hours"),
        (Schedule("every", every_minutes=1440), "Every day"),
        (daily(time(2, 30)), "Daily at 02:30 (Europe/Berlin)"),
        (daily(time(2, 30), weekday=6), "Every Sunday at 02:30 (Europe/Berlin)"),
        (cron("0  3 * *   1-5", "UTC"), "Cron 0 3 * * 1-5 (UTC)"),
        (Schedule("manual"), "Only by hand"),
    ],
)
def test_a_schedule_in_words(schedule: Schedule, sentence: str) -> None:
    assert schedule.sentence() == sentence


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule("every", every_minutes=4), "5 minutes"),
        (Schedule("every", every_minutes=10081), "7 days"),
        (Schedule("daily"), "02:30"),
        (Schedule("weekly", at_time=time(1)), "day of the week"),
        (cron("61 * * * *"), "not a cron expression"),
        (cron("* * * *"), "five fields"),
        (cron("* * * * * *"), "five fields"),
        (cron("\x00 * * * *"), "not a cron expression"),
        (cron("0 0 30 2 *"), "never comes true"),
        (Schedule("every", time_zone="Mars/Olympus"), "time zone"),
        (Schedule("every", time_zone="../../etc/passwd"), "time zone"),
        (Schedule("every", time_zone=""), "time zone"),
        (Schedule("sometimes"), "when backups are made"),
    ],
)
def test_what_is_no_schedule_is_refused_in_words(schedule: Schedule, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        schedule.check()
    assert str(caught.value).endswith(".")


@given(st.text(max_size=30))
def test_any_text_as_cron_is_read_or_refused(text: str) -> None:
    # Any other exception than ValueError fails this test.
    with suppress(ValueError):
        cron(text).check()


def test_by_hand_has_no_times() -> None:
    schedule = Schedule("manual")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert schedule.next_after(start) is None
    assert schedule.upcoming(start) == []
    assert schedule.longest_gap(start) is None
    assert Planner(schedule, FREE).achievable_rpo(start, timedelta(minutes=5)) is None


def test_an_hourly_policy_cannot_meet_a_target_of_one_hour() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    hourly = Planner(Schedule("every", every_minutes=60), FREE).achievable_rpo(start, timedelta(minutes=5))
    assert hourly == timedelta(minutes=60 + 5 + 2 + 5)
    weekdays = Planner(cron("0 3 * * 1-5", "UTC"), FREE).achievable_rpo(start, timedelta(0))
    assert weekdays == timedelta(days=3, minutes=2)
    assert daily(time(3)).longest_gap(datetime(2026, 10, 1, tzinfo=UTC)) == timedelta(hours=25)


@pytest.mark.parametrize(
    ("schedule", "gap"),
    [
        # 44 starts a day: the weekend is beyond the first 60. Friday 18:45 to Monday 8:00 UTC.
        (cron("*/15 8-18 * * 1-5", "UTC"), timedelta(days=2, hours=13, minutes=15)),
        # 288 starts on one day, then a month of 31 days without its first.
        (cron("*/5 * 1 * *", "UTC"), timedelta(days=30, minutes=5)),
        (cron("* 1-22 * * 1-5", "UTC"), timedelta(days=2, hours=2, minutes=1)),
        (cron("0 0 1 1 *", "UTC"), timedelta(days=366)),
        # The clocks go back in eleven months: that day has 25 hours.
        (daily(time(2)), timedelta(hours=25)),
        (daily(time(2), "UTC"), timedelta(hours=24)),
        (daily(time(2), "UTC", weekday=6), timedelta(days=7)),
    ],
)
def test_the_longest_gap_is_found_however_dense_the_starts_before_it_are(
    schedule: Schedule, gap: timedelta
) -> None:
    assert schedule.longest_gap(datetime(2026, 11, 23, 9, tzinfo=UTC)) == gap


def test_a_day_that_no_month_has_never_comes_true() -> None:
    for expression in ("0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6 *"):
        with pytest.raises(ValueError, match="never comes true"):
            Schedule(kind="cron", cron=expression).check()
    for expression in ("0 0 32 * *", "0 0 31 13 *", "99 0 31 2 *"):
        with pytest.raises(ValueError, match="not a cron expression"):
            Schedule(kind="cron", cron=expression).check()
