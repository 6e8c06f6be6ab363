"""The matrix of drills and the trend of their times. Nothing here is stored."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from agents.errors import PlanRefused
from backupsite.fleet.models import Device
from backupsite.recovery.drill_matrix import DAYS, list_days, make_matrix
from backupsite.recovery.drill_models import Drill
from backupsite.recovery.drill_trend import describe, draw_trend, find_slowest
from backupsite.recovery.drills import points_of
from backupsite.runs.models import Run
from tests.backupsite.making import make_device, make_point, make_run

NOW = datetime(2026, 11, 22, 0, 30, tzinfo=UTC)
RTO = timedelta(minutes=1)


def make_drill(result: str, days_ago: float, seconds: float = 30.0, rto: timedelta | None = RTO) -> Drill:
    at = NOW - timedelta(days=days_ago)
    return Drill(pk=1, device_id=7, result=result, at=at, total_s=seconds, rto=rto)


def test_the_worst_of_a_day_is_drawn_and_every_day_has_its_words() -> None:
    drills = [
        make_drill("passed", 0),
        make_drill("passed", 1),
        make_drill("impossible", 1),
        make_drill("failed", 1.05),
        make_drill("failed", DAYS + 3),
    ]
    (row,) = make_matrix([Device(pk=7, name="db-01")], drills, list_days(NOW))
    assert len(row.cells) == DAYS
    assert [cell.words for cell in row.cells[-3:]] == [
        "20 Nov: Failed",
        "21 Nov: Could not be done, 2 drills",
        "22 Nov: Passed",
    ]
    assert {cell.words.partition(": ")[2] for cell in row.cells[:-3]} == {"No drill"}
    assert row.cells[0].day == date(2026, 10, 24)


def test_the_trend_is_the_slowest_of_each_day_that_passed() -> None:
    drills = [make_drill("passed", 0, 20), make_drill("passed", 0, 61), make_drill("failed", 1, 900)]
    (slowest,) = find_slowest(drills)
    assert (slowest.seconds, slowest.is_late) == (61, True)
    assert "Longer than the RTO on 1 day." in describe([slowest], RTO)
    (good,) = find_slowest([make_drill("passed", 0, 59)])
    assert not good.is_late
    assert "Within the RTO of 1 min each time." in describe([good], RTO).replace("\u00a0", " ")
    assert "no time is measured" in describe([], None)


@pytest.mark.parametrize(("rto", "is_drawn"), [(RTO, True), (timedelta(hours=4), False), (None, False)])
def test_a_target_far_above_is_said_and_not_drawn(rto: timedelta | None, is_drawn: bool) -> None:
    drawn = draw_trend("t", find_slowest([make_drill("passed", 0, 30, rto)]), list_days(NOW), rto)
    assert ('class="limit"' in drawn) == is_drawn


@pytest.mark.django_db
def test_a_drill_is_of_one_backup_of_one_source_of_its_device() -> None:
    point = make_point(make_device(), None, NOW)
    other = make_point(point.device, None, NOW, source="/etc")
    foreign = make_point(make_device("web-01"), None, NOW)

    def ask(*points: object) -> Run:
        return make_run(point.device, kind=Run.DRILL, request={"points": [str(each) for each in points]})

    assert points_of(ask(point.pk)) == [point]
    for wrong in ((), (foreign.pk,), (point.pk, foreign.pk), (point.pk, other.pk)):
        with pytest.raises(PlanRefused):
            points_of(ask(*wrong))
