"""Restore points on a logarithmic axis of age: the last hours have as much room as the last year."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.html import format_html
from django.utils.safestring import SafeString

from backupsite.web.charts import svg
from backupsite.web.formatting import format_ago, format_moment
from backupsite.web.status import Tone

LEFT, RIGHT, LANE, TOP = 0.02, 0.97, 46, 8
# Ages below this share one place at the right end.
NEAR_S = 600.0
# Marks closer than this share of the width become one mark with a number.
MERGE_SHARE = 0.032
TICKS = (
    ("1 h", 3_600),
    ("6 h", 21_600),
    ("1 day", 86_400),
    ("1 week", 7 * 86_400),
    ("1 month", 30 * 86_400),
    ("6 months", 182 * 86_400),
    ("1 year", 365 * 86_400),
    ("5 years", 5 * 365 * 86_400),
)


@dataclass(frozen=True)
class Point:
    """A restore point to draw: when, its page, and the tone of its state. `lane` is a source, for example;
    `words` say what it is, a point with a ring was proven to be good."""

    at: datetime
    url: str
    lane: str = ""
    tone: Tone = "running"
    words: str = "Restore point"
    has_ring: bool = False


def find_place(age: timedelta, oldest: timedelta) -> float:
    """Given an age and the oldest one drawn, return the place from 0 (oldest) to 1 (now)."""
    span = math.log1p(max(oldest.total_seconds(), 2 * NEAR_S) / NEAR_S)
    return 1 - min(math.log1p(max(age.total_seconds(), 0) / NEAR_S) / span, 1)


def describe_timeline(points: Sequence[Point], now: datetime) -> str:
    """Given the points, return them in words."""
    if not points:
        return "No restore points yet."
    newest, oldest = max(p.at for p in points), min(p.at for p in points)
    noun = "restore point" if len(points) == 1 else "restore points"
    proven = sum(point.has_ring for point in points)
    rings = f" {proven} with a ring {'was' if proven == 1 else 'were'} proven by a drill." if proven else ""
    return f"{len(points)} {noun}; newest {format_ago(newest, now)}, oldest {format_ago(oldest, now)}.{rings}"


def merge_near(points: Sequence[Point], now: datetime, oldest: timedelta) -> list[tuple[float, list[Point]]]:
    """Given the points of one lane, return marks from old to new: a place and the points that share it."""
    marks: list[tuple[float, list[Point]]] = []
    for point in sorted(points, key=lambda p: p.at):
        place = LEFT + (RIGHT - LEFT) * find_place(now - point.at, oldest)
        if marks and place - marks[-1][0] < MERGE_SHARE:
            marks[-1][1].append(point)
        else:
            marks.append((place, [point]))
    return marks


def draw_timeline(chart_id: str, points: Sequence[Point], now: datetime) -> SafeString:
    """Given restore points and the time, return the timeline; each mark leads to its newest point.

    Times in hints are in the zone of each point's own datetime.
    """
    summary = describe_timeline(points, now)
    lanes = list(dict.fromkeys(p.lane for p in points)) or [""]
    oldest = max((now - p.at for p in points), default=timedelta(days=7)) * 1.1
    bottom = TOP + LANE * len(lanes)
    body = [*_axis(oldest, bottom), svg.line(svg.percent(RIGHT), 0, svg.percent(RIGHT), bottom, "now")]
    for index, lane in enumerate(lanes):
        y = TOP + LANE * (index + (0.65 if lane else 0.5))
        body.append(svg.line(svg.percent(LEFT), y, svg.percent(RIGHT), y, "grid-line"))
        if lane:
            body.append(svg.text("0", y - 16, lane, classes="halo"))
        body += [
            _mark(place, y, group)
            for place, group in merge_near([p for p in points if p.lane == lane], now, oldest)
        ]
    return svg.figure(svg.chart(chart_id, "Restore points over time", summary, bottom + 22, body), summary)


def _axis(oldest: timedelta, bottom: float) -> list[SafeString]:
    ticks = [svg.text(svg.percent(RIGHT), bottom + 16, "Now", "middle", "strong")]
    last = last_narrow = RIGHT
    for label, age_s in TICKS:
        place = LEFT + (RIGHT - LEFT) * find_place(timedelta(seconds=age_s), oldest)
        if age_s > oldest.total_seconds():
            break
        # Two labels never touch; a phone has room for fewer of them.
        if last - place >= 0.075:
            is_narrow = last_narrow - place >= 0.17
            last_narrow = place if is_narrow else last_narrow
            anchor = "middle" if place > 0.05 else "start"
            ticks.append(
                svg.text(svg.percent(place), bottom + 16, label, anchor, "" if is_narrow else "wide-only")
            )
            last = place
    return ticks


def _mark(place: float, y: float, group: Sequence[Point]) -> SafeString:
    newest = group[-1]
    when = format_moment(newest.at)
    words = f"{newest.words}, {when}"
    if len(group) > 1:
        words = f"{len(group)} restore points, newest: {words}"
    has_ring = any(point.has_ring for point in group)
    shape: SafeString
    count: SafeString | str = ""
    if len(group) == 1:
        shape = format_html(
            '{}<circle cx="{}" cy="{}" r="5" class="mark {}"/>',
            _ring(svg.percent(place), y, 8, 8) if has_ring else "",
            svg.percent(place),
            svg.number(y),
            newest.tone,
        )
    else:
        shape = format_html(
            '<svg x="{}" y="{}" overflow="visible">{}'
            '<rect x="-11" y="-9" width="22" height="18" rx="9" class="mark many {}"/></svg>',
            svg.percent(place),
            svg.number(y),
            _ring("0", 0, 14, 12) if has_ring else "",
            newest.tone,
        )
        # Beside the link, whose name says it in words: axe-core takes both for what is seen of the link.
        count = format_html(
            '<text x="{}" y="{}" text-anchor="middle" class="strong wide-only" aria-hidden="true"'
            ' pointer-events="none">{}</text>',
            svg.percent(place),
            svg.number(y + 4),
            len(group) if len(group) < 100 else "99+",
        )
    return format_html(
        '<a href="{}" aria-label="{}"><title>{}</title>{}</a>{}', newest.url, words, words, shape, count
    )


def _ring(x: str, y: float, half_width: int, half_height: int) -> SafeString:
    """Return what stands around a point that was proven to be good."""
    return format_html(
        '<svg x="{}" y="{}" overflow="visible">'
        '<rect x="-{}" y="-{}" width="{}" height="{}" rx="{}" class="mark ring"/></svg>',
        x, svg.number(y), half_width, half_height, 2 * half_width, 2 * half_height, half_height,
    )  # fmt: skip
