"""Runs per day: what went well above the line, what did not below it and on its own scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.utils.safestring import SafeString

from backupsite.web.charts import svg
from backupsite.web.formatting import format_count

TOP, GOOD_HEIGHT, BAD_HEIGHT = 14, 104, 52
LEFT = 0.07


@dataclass(frozen=True)
class Day:
    """How the runs ended that started on a day."""

    day: date
    good: int
    warnings: int
    failed: int


def describe_days(days: Sequence[Day]) -> str:
    """Given the days, return them in words."""
    if not days:
        return "No runs yet."
    good, warnings, failed = (sum(getattr(d, name) for d in days) for name in ("good", "warnings", "failed"))
    words = (
        f"{format_count(good)} good, {format_count(warnings)} with warnings, {format_count(failed)} failed"
    )
    worst = max(days, key=lambda d: d.failed)
    tail = f"; most failures on {_name(worst.day)} ({format_count(worst.failed)})." if worst.failed else "."
    return f"{len(days)} days: {words}{tail}"


def draw_days(chart_id: str, days: Sequence[Day]) -> SafeString:
    """Given days in order, return the bars with their summary."""
    summary = describe_days(days)
    top = svg.round_up(max((d.good for d in days), default=0))
    bottom = svg.round_up(max((d.warnings + d.failed for d in days), default=0))
    middle = TOP + GOOD_HEIGHT
    body = [
        svg.line(svg.percent(LEFT), TOP, "100%", TOP, "grid-line"),
        svg.text("0", TOP + 4, _axis(top)),
        svg.text("0", middle + 4, "0"),
        svg.text("0", middle + BAD_HEIGHT + 4, _axis(bottom)),
        svg.line(svg.percent(LEFT), middle + BAD_HEIGHT, "100%", middle + BAD_HEIGHT, "grid-line"),
    ]
    width = (1 - LEFT) / max(len(days), 1)
    for index, day in enumerate(days):
        body += _bars(day, LEFT + index * width, width * 0.78, GOOD_HEIGHT / top, BAD_HEIGHT / bottom)
    body.append(svg.line(svg.percent(LEFT), middle, "100%", middle, "axis"))
    if days:
        y = middle + BAD_HEIGHT + 20
        body += [
            svg.text(svg.percent(LEFT), y, _name(days[0].day)),
            svg.text("100%", y, _name(days[-1].day), "end"),
        ]
    return svg.figure(svg.chart(chart_id, "Runs per day", summary, middle + BAD_HEIGHT + 24, body), summary)


def _bars(day: Day, start: float, width: float, good_px: float, bad_px: float) -> list[SafeString]:
    x, size, middle = svg.percent(start), svg.percent(width), TOP + GOOD_HEIGHT
    hint = f"{_name(day.day)}: {day.good} good, {day.warnings} with warnings, {day.failed} failed"
    bars = []
    if day.good:
        height = max(day.good * good_px, 1.5)
        bars.append(svg.rect(x, middle - height, size, height, "mark pale", hint))
    below = middle + 1.0
    for value, tone in ((day.failed, "bad"), (day.warnings, "warn")):
        if value:
            height = max(value * bad_px - 1, 2.5)
            bars.append(svg.rect(x, below, size, height, f"mark {tone}", hint, radius=1))
            below += height + 1
    return bars


def _axis(value: float) -> str:
    return format_count(round(value)) if value >= 1 else svg.number(value)


def _name(day: date) -> str:
    return f"{day.day} {day:%b}"
