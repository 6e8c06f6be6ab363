"""How long bringing data back took in the drills of each day, as a picture with its words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils import timezone
from django.utils.safestring import SafeString

from backupsite.recovery.drill_models import Drill
from backupsite.web.charts import svg
from backupsite.web.formatting import format_duration

TOP, HEIGHT = 20, 132


@dataclass(frozen=True)
class Slowest:
    """The longest drill of a day that passed, in seconds; `is_late`: longer than its own target."""

    day: date
    seconds: float
    is_late: bool


def find_slowest(drills: Iterable[Drill]) -> list[Slowest]:
    """Given drills, return the slowest that passed of each day, oldest first. Pure."""
    found: dict[date, Drill] = {}
    for drill in drills:
        day = timezone.localtime(drill.at).date()
        if drill.result == Drill.PASSED and (day not in found or found[day].total_s < drill.total_s):
            found[day] = drill
    return [
        Slowest(day, drill.total_s, drill.rto is not None and drill.total_s > drill.rto.total_seconds())
        for day, drill in sorted(found.items())
    ]


def describe(slowest: Sequence[Slowest], rto: timedelta | None) -> str:
    """Given what is drawn, return it in words."""
    if not slowest:
        return "No drill has passed in these days, so no time is measured."
    last, worst = slowest[-1], max(slowest, key=lambda each: each.seconds)
    words = f"Last {format_duration(last.seconds)}, longest {format_duration(worst.seconds)}"
    words += f" on {worst.day.day} {worst.day:%b}."
    late = sum(each.is_late for each in slowest)
    if late:
        words += f" Longer than the RTO on {late} day{'s' if late != 1 else ''}."
    elif rto is not None:
        words += f" Within the RTO of {format_duration(rto)} each time."
    return words


def draw_trend(
    chart_id: str, slowest: Sequence[Slowest], days: Sequence[date], rto: timedelta | None
) -> SafeString:
    """Given the slowest drills of days and the target of all of them, if they share one, return the chart."""
    limit = rto.total_seconds() if rto is not None else 0.0
    longest = max([each.seconds for each in slowest], default=0.0)
    # A target of hours over drills of seconds would press them flat: it is said, not drawn, then.
    is_drawn = 0 < limit <= longest * 8
    top = svg.round_up(max(longest, limit if is_drawn else 0.0, 1.0))
    body = [*_axes(top, limit if is_drawn else 0.0), *(_bar(each, days, top) for each in slowest)]
    if is_drawn:
        y = TOP + HEIGHT * (1 - limit / top)
        body += [
            svg.line("0", y, "100%", y, "limit"),
            svg.text("100%", y - 6, f"RTO {format_duration(limit)}", "end", "strong halo"),
        ]
    summary = describe(slowest, rto)
    drawing = svg.chart(
        chart_id, "Time to recover, by drills", summary, TOP + HEIGHT + 24, [*body, *_ends(days)]
    )
    return svg.figure(drawing, summary)


def _axes(top: float, limit: float) -> list[SafeString]:
    lines = []
    for share in (1.0, 0.5):
        y = TOP + HEIGHT * (1 - share)
        lines.append(svg.line("0", y, "100%", y, "grid-line"))
        if not 0 <= limit / top - share < 0.15:
            # The line of the limit would run through its words.
            lines.append(svg.text("0", y - 5, format_duration(top * share), classes="halo"))
    return [*lines, svg.line("0", TOP + HEIGHT, "100%", TOP + HEIGHT, "axis")]


def _bar(each: Slowest, days: Sequence[date], top: float) -> SafeString:
    width = 1 / len(days)
    height = max(HEIGHT * each.seconds / top, 2.0)
    place = width * days.index(each.day) + width * 0.15
    words = f"{each.day.day} {each.day:%b}: {format_duration(each.seconds)}"
    words += ", longer than the RTO" if each.is_late else ""
    tone = "mark bad" if each.is_late else "mark"
    return svg.rect(
        svg.percent(place), TOP + HEIGHT - height, svg.percent(width * 0.7), height, tone, words, radius=2
    )


def _ends(days: Sequence[date]) -> list[SafeString]:
    y, middle = TOP + HEIGHT + 18, days[len(days) // 2]
    return [
        svg.text("0", y, f"{days[0].day} {days[0]:%b}"),
        svg.text("50%", y, f"{middle.day} {middle:%b}", "middle"),
        svg.text("100%", y, "today", "end"),
    ]
