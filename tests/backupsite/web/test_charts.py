"""Charts are well-formed SVG without inline style, say in words what they show, and place things right."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from backupsite.web import charts
from backupsite.web.charts import bars, lines, svg, timeline

NOW = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
EVIL = '"><script>alert(1)</script>'
SAMPLES = [lines.Sample(float(i), 1e8 + i) for i in range(1000)]
POINTS = [timeline.Point(NOW - timedelta(hours=h), "/points/1/", lane=EVIL) for h in (1, 2, 300)]
SEGMENTS = [bars.Segment(EVIL, 9_990, "good", "/devices/"), bars.Segment("outside", 10, "bad")]

DRAWINGS: dict[str, Callable[[], str]] = {
    "throughput": lambda: charts.draw_throughput("c", SAMPLES, [lines.Span(4, 4.4)], 5e7),
    "throughput, empty": lambda: charts.draw_throughput("c", []),
    "throughput, one sample at zero": lambda: charts.draw_throughput("c", [lines.Sample(0, 0)]),
    "sparkline": lambda: charts.draw_sparkline("c", EVIL, [1, 5, 3]),
    "sparkline, empty": lambda: charts.draw_sparkline("c", EVIL, []),
    "sparkline, one value": lambda: charts.draw_sparkline("c", EVIL, [0]),
    "timeline": lambda: charts.draw_timeline("c", POINTS, NOW),
    "timeline, empty": lambda: charts.draw_timeline("c", [], NOW),
    "timeline, from the future": lambda: charts.draw_timeline(
        "c", [timeline.Point(NOW + timedelta(hours=1), "/")], NOW
    ),
    "days": lambda: charts.draw_days("c", [charts.Day(date(2026, 11, 22), 640, 3, 58)]),
    "days, empty": lambda: charts.draw_days("c", []),
    "segments": lambda: charts.draw_segments("c", EVIL, SEGMENTS),
    "segments, empty": lambda: charts.draw_segments("c", EVIL, []),
    "legend": lambda: charts.draw_legend(SEGMENTS),
    "freeze": lambda: charts.draw_freeze("c", 0.42, 5),
    "freeze, over": lambda: charts.draw_freeze("c", 6, 5),
    "freeze, nothing": lambda: charts.draw_freeze("c", 0, 0),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_chart_is_well_formed_and_has_no_inline_style(name: str) -> None:
    drawing = DRAWINGS[name]()
    root = ET.fromstring(drawing)
    assert not [e for e in root.iter() if e.tag == "script" or "style" in e.attrib]
    for value in re.findall(r'\b(?:x|y|x1|x2|y1|y2|cx|cy)="(-?[\d.]+)%?"', drawing):
        assert -20 <= float(value) <= 1000


@pytest.mark.parametrize("name", [n for n in DRAWINGS if n != "legend"])
def test_a_chart_has_a_title_and_words(name: str) -> None:
    root = ET.fromstring(DRAWINGS[name]())
    chart = root if root.tag == "svg" else root.find("svg")
    assert chart is not None
    assert chart.findtext("title")
    assert chart.findtext("desc")
    assert chart.attrib["aria-labelledby"] == "c-title"


def test_long_runs_are_thinned_out_and_keep_their_mean() -> None:
    thin = lines.thin_out(SAMPLES)
    assert len(thin) <= lines.MOST_PLACES
    assert thin[-1].at_s == 999
    assert len(charts.draw_throughput("c", SAMPLES)) < 12_000


def test_words_of_a_throughput_chart() -> None:
    words = lines.describe_throughput([lines.Sample(1, 1e6), lines.Sample(2, 3e6)], [lines.Span(0, 0.5)])
    assert words.replace("\u00a0", " ") == "Mean 2.0 MB/s, most 3.0 MB/s in 2 s. Frozen for 0.50 s."


def test_a_few_among_many_are_still_seen_and_all_fit() -> None:
    shares = bars.share_out([100_000, 1, 0])
    assert shares[1] > 0.01
    assert shares[2] == 0
    assert sum(shares) == pytest.approx(1)


def test_a_freeze_over_its_limit_is_said_and_shown() -> None:
    over, within = charts.draw_freeze("c", 6, 5), charts.draw_freeze("c", 0.4, 5)
    assert "over the limit" in over
    assert "mark bad" in over
    assert "within the limit" in within
    assert "mark bad" not in within


def test_newer_points_stand_further_right() -> None:
    oldest = timedelta(days=300)
    places = [timeline.find_place(timedelta(hours=h), oldest) for h in (7200, 300, 24, 1, 0)]
    assert places == sorted(places)
    assert places[0] == pytest.approx(0, abs=0.001)
    assert places[-1] == 1


def test_points_in_one_place_become_one_mark_that_leads_to_the_newest() -> None:
    points = [timeline.Point(NOW - timedelta(days=200, minutes=m), f"/points/{m}/") for m in range(5)]
    drawing = charts.draw_timeline("c", points, NOW)
    assert drawing.count("<a ") == 1
    assert 'href="/points/0/"' in drawing
    assert "5 restore points" in drawing


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.3, 0.3), (7, 8), (11, 15), (58, 60), (120, 150), (640, 800)]
)
def test_an_axis_ends_at_a_round_number(value: float, top: float) -> None:
    assert svg.round_up(value) == pytest.approx(top)


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        svg.number(float("nan"))


def test_what_a_drill_proved_has_a_ring_and_is_counted() -> None:
    proven = timeline.Point(NOW - timedelta(days=3), "/points/1/", has_ring=True)
    drawing = charts.draw_timeline("c", [*POINTS, proven], NOW)
    assert drawing.count("mark ring") == 1
    assert "1 with a ring was proven by a drill." in drawing
    assert "ring" not in charts.draw_timeline("c", POINTS, NOW)
