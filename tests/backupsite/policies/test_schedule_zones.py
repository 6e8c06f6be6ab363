"""Schedules over every change of the clocks of ten years: no time is doubled or left out, none goes back, and
each stays at its time of day. By default a few zones of every kind; all of them in the full campaign."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest

from backupsite.policies.schedule import Schedule
from tests.backupsite.policies.zone_changes import Change, list_changes

# An hour at night, at midnight, across midnight, half an hour, two hours, a month of fasting, a change of the
# zone itself; and zones whose clocks are never set.
SAMPLE = (
    "Europe/Berlin", "America/New_York", "Africa/Cairo", "America/Santiago", "America/Nuuk", "America/Havana",
    "Atlantic/Azores", "Australia/Lord_Howe", "Antarctica/Troll", "Africa/Casablanca", "Asia/Beirut",
    "Asia/Pyongyang", "America/Mexico_City", "Europe/Volgograd", "Africa/Juba", "Asia/Kathmandu", "UTC",
)  # fmt: skip
ALL = sorted(zoneinfo.available_timezones())
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def changes_of(zone: str) -> list[Change]:
    """The changes of a zone; the middle of each year where there are none."""
    middles = [Change(zone, datetime(year, 7, 1, tzinfo=UTC), timedelta(0)) for year in range(2020, 2031, 5)]
    return list_changes(zone) or middles


def times_of_day(change: Change) -> set[time]:
    """Times of day before, in and after what a change skips or repeats, and two far from it."""
    zone = ZoneInfo(change.zone)
    before = (change.at - timedelta(seconds=1)).astimezone(zone).replace(tzinfo=None) + timedelta(seconds=1)
    after = change.at.astimezone(zone).replace(tzinfo=None)
    low, high = min(before, after), max(before, after)
    near = [low - MINUTE, low, low + (high - low) / 2, high - MINUTE, high, high + MINUTE]
    return {each.time().replace(second=0, microsecond=0, fold=0) for each in near} | {time(0), time(12, 34)}


def times_around(schedule: Schedule, change: Change, *, spread_by: str = "") -> list[datetime]:
    """The times of a schedule from nine days before a change to nine days after it."""
    first, last = change.at - 9 * DAY, change.at + 9 * DAY
    return list(takewhile(lambda at: at < last, schedule.times_after(first, spread_by=spread_by)))


def nominal(first: datetime, last: datetime, at: time, zone: ZoneInfo) -> Iterator[datetime]:
    """The dates and times on the wall, without a zone, that lie surely between two moments."""
    day = first.astimezone(zone).date() + DAY
    while day < last.astimezone(zone).date():
        yield datetime.combine(day, at)
        day += DAY


def on_wall(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first moment at which the clocks show it."""
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


def exists(wall: datetime, zone: ZoneInfo) -> bool:
    return on_wall(wall, zone).astimezone(zone).replace(tzinfo=None) == wall


def check_daily(change: Change, at: time) -> None:
    """Each date has one time, the wall's; what is skipped comes later by as much as the clocks skip."""
    zone = ZoneInfo(change.zone)
    got = times_around(Schedule("daily", at_time=at, time_zone=change.zone), change)
    walls = list(nominal(change.at - 8 * DAY, change.at + 8 * DAY, at, zone))
    moved = [on_wall(wall if exists(wall, zone) else wall + change.shift, zone) for wall in walls]
    assert [each for each in got if inside(each, walls, zone)] == moved
    for sooner, later in pairwise(got):
        assert DAY - abs(change.shift) <= later - sooner <= DAY + abs(change.shift)


def inside(at: datetime, walls: list[datetime], zone: ZoneInfo) -> bool:
    return walls[0] <= at.astimezone(zone).replace(tzinfo=None) < walls[-1] + DAY / 2


def check_weekly(change: Change, at: time) -> None:
    """The days of a week together are the daily schedule."""
    every_day = times_around(Schedule("daily", at_time=at, time_zone=change.zone), change)
    by_weekday = [
        each
        for weekday in range(7)
        for each in times_around(
            Schedule("weekly", at_time=at, weekday=weekday, time_zone=change.zone), change
        )
    ]
    assert sorted(by_weekday) == every_day


def check_cron(change: Change, at: time) -> None:
    """One time of day in cron is one on each date: what is skipped comes at the change itself."""
    zone = ZoneInfo(change.zone)
    schedule = Schedule("cron", cron=f"{at.minute} {at.hour} * * *", time_zone=change.zone)
    walls = list(nominal(change.at - 8 * DAY, change.at + 8 * DAY, at, zone))
    moved = [on_wall(wall, zone) if exists(wall, zone) else change.at for wall in walls]
    assert [each for each in times_around(schedule, change) if inside(each, walls, zone)] == moved


def check_cron_of_hours(change: Change, hours: str) -> None:
    """Several hours of a day: each is there once, two that fall together are one."""
    zone = ZoneInfo(change.zone)
    wanted = range(24)[slice(None, None, 2)] if hours in ("*/2", "0-23/2") else (1, 2, 3)
    walls = sorted(
        wall
        for hour in wanted
        for wall in nominal(change.at - 8 * DAY, change.at + 8 * DAY, time(hour, 15), zone)
    )
    moved = {on_wall(wall, zone) if exists(wall, zone) else change.at for wall in walls}
    got = times_around(Schedule("cron", cron=f"15 {hours} * * *", time_zone=change.zone), change)
    low, high = min(moved), max(moved)
    assert [each for each in got if low <= each <= high] == sorted(moved)


def check_hourly_cron(change: Change) -> None:
    """Every minute 0, 20, 40 of the wall that ever is, each once."""
    zone = ZoneInfo(change.zone)
    got = times_around(Schedule("cron", cron="*/20 * * * *", time_zone=change.zone), change)
    first = got[0]
    passed = (first + n * MINUTE for n in range(int((got[-1] - first) / MINUTE) + 1))
    assert got == [each for each in passed if each.astimezone(zone).minute % 20 == 0]


def check_restarts(schedule: Schedule, change: Change) -> None:
    """A console that looks at any moment finds the same next time: a claim counts from now."""
    for key in ("", "a device", "another"):
        near = [
            each
            for each in times_around(schedule, change, spread_by=key)
            if abs(each - change.at) < timedelta(hours=50)
        ]
        for sooner, later in pairwise(near):
            assert sooner < later
            for part in (timedelta(0), timedelta(microseconds=1), (later - sooner) / 2):
                assert schedule.next_after(sooner + part, spread_by=key) == later
            assert schedule.next_after(later - timedelta(microseconds=1), spread_by=key) == later


def check_spread(schedule: Schedule, change: Change) -> None:
    """Each device has its own distance from the schedule's times, before the change and after it."""
    plain = times_around(schedule, change)
    for key in ("a device", "another"):
        own = schedule.spread_of(key)
        spread = [each - own for each in times_around(schedule, change, spread_by=key)]
        known = [each for each in spread if each >= plain[0]]
        assert len(known) > 1
        assert known == plain[: len(known)]


def check_all(change: Change) -> None:
    for at in times_of_day(change):
        check_daily(change, at)
        check_weekly(change, at)
        check_cron(change, at)
    for hours in ("*/2", "0-23/2", "1,2,3"):
        check_cron_of_hours(change, hours)
    check_hourly_cron(change)
    middle = sorted(times_of_day(change))[1]
    for schedule in (
        Schedule("every", every_minutes=240, time_zone=change.zone),
        Schedule("daily", at_time=middle, time_zone=change.zone),
        Schedule("cron", cron="*/20 2 * * *", time_zone=change.zone),
        Schedule("cron", cron="30 */2 * * *", time_zone=change.zone),
        Schedule("cron", cron="30 * * * *", time_zone=change.zone),
    ):
        check_restarts(schedule, change)
        check_spread(schedule, change)


@pytest.mark.parametrize("zone", SAMPLE)
def test_schedules_keep_their_times_where_the_clocks_are_set(zone: str) -> None:
    # The first changes of a zone and its last ones.
    changes = changes_of(zone)
    for change in {str(each): each for each in (*changes[:1], *changes[-1:])}.values():
        check_all(change)


@pytest.mark.full
def test_schedules_keep_their_times_in_every_zone_for_ten_years() -> None:
    # Paris and Berlin set the same clocks at the same moments: they differ in their names alone.
    seen = set()
    for zone in ALL:
        changes = changes_of(zone)
        kind = tuple(
            (each.at, each.at.astimezone(ZoneInfo(zone)).utcoffset(), each.shift) for each in changes
        )
        for change in changes if kind not in seen else ():
            check_all(change)
        seen.add(kind)
    assert len(seen) > 50


def test_an_interval_does_not_know_the_clocks() -> None:
    for zone in SAMPLE:
        for change in changes_of(zone):
            times = times_around(Schedule("every", every_minutes=240, time_zone=zone), change)
            assert {later - sooner for sooner, later in pairwise(times)} == {timedelta(hours=4)}
