"""The strip of a file's versions: time from left to right, one band for each version, a tick for each restore
point. Drawn as SVG like the other charts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from backupsite.web.charts import svg
from backupsite.web.formatting import format_count

HEIGHT, BAND = 46, 22
MOST_TICKS = 400


def draw_strip(moments: Sequence[tuple[datetime, str, bool]], points: Sequence[datetime]) -> SafeString:
    """Given when each version began with its words and whether the file was there, and the times of all
    restore points (both in order, two times or more), return the strip."""
    # The last restore point holds for as long as there is no next one: its band has the usual width.
    start, end = points[0], points[-1] + (points[-1] - points[0]) / (len(points) - 1)
    seconds = (end - start).total_seconds() or 1.0

    def place(moment: datetime) -> float:
        return (moment - start).total_seconds() / seconds

    body: list[SafeString] = []
    ends = [began for began, _, _ in moments[1:]]
    for number, ((began, words, is_there), ended) in enumerate(zip(moments, [*ends, end], strict=True)):
        width = max(place(ended) - place(began), 0.004)
        tone = ("version-even" if number % 2 else "version-odd") if is_there else "version-none"
        hint = f"{words}, from {_say(began)}"
        body.append(
            svg.rect(svg.percent(min(place(began), 0.996)), 0, svg.percent(width), BAND, tone, hint, radius=3)
        )
    body += _ticks([place(each) for each in points])
    body.append(svg.text("0", HEIGHT - 2, _say(start)))
    body.append(svg.text("100%", HEIGHT - 2, _say(points[-1]), "end"))
    there = sum(1 for _, _, is_there in moments if is_there)
    summary = f"{format_count(there)} versions in {format_count(len(points))} restore points."
    return svg.chart("versions-strip", "Versions through time", summary, HEIGHT, body)


def _ticks(places: Sequence[float]) -> list[SafeString]:
    """A tick for each restore point; of many only those that can be told apart."""
    if len(places) > MOST_TICKS:
        places = [
            first
            for first, second in pairwise(places)
            if round(first * MOST_TICKS) != round(second * MOST_TICKS)
        ]
    return [
        format_html(
            '<line class="version-tick" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>',
            svg.percent(each),
            BAND + 3,
            BAND + 9,
        )
        for each in places
    ]


def _say(moment: datetime) -> str:
    local = timezone.localtime(moment)
    return f"{local.day} {local:%b %Y, %H:%M}"
