"""The few shapes that all charts are made of. Text is escaped here; numbers are shortened here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

# The nested viewBox in which curves are drawn and then stretched.
PLOT_WIDTH = 1000
PLOT_HEIGHT = 200


def number(value: float) -> str:
    """Given a number, return it short: two decimals at most. Raise ValueError for NaN and infinity."""
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be drawn")
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def percent(share: float) -> str:
    """Given a share of 1, return it as percent, held between 0 and 100."""
    return f"{number(min(max(share, 0.0), 1.0) * 100)}%"


def join(parts: Iterable[SafeString]) -> SafeString:
    """Given finished pieces of SVG, return them as one."""
    return format_html_join("", "{}", ((part,) for part in parts))


def chart(chart_id: str, title: str, summary: str, height: int, body: Iterable[SafeString]) -> SafeString:
    """Given the pieces of a chart, return the <svg> with its title and description; height in pixels.

    The id must be unique on the page and stay the same in each live fragment.
    """
    return format_html(
        '<svg class="chart" id="{0}" width="100%" height="{1}" role="group" aria-labelledby="{0}-title"'
        ' aria-describedby="{0}-text"><title id="{0}-title">{2}</title>'
        '<desc id="{0}-text">{3}</desc>{4}</svg>',
        chart_id,
        height,
        title,
        summary,
        join(body),
    )


def figure(drawing: SafeString, summary: str) -> SafeString:
    """Given a chart and its summary, return both, the summary visible below."""
    return format_html(
        '<figure class="chart-figure">{}<figcaption>{}</figcaption></figure>', drawing, summary
    )


def text(x: str, y: float, content: str, anchor: str = "start", classes: str = "") -> SafeString:
    """Given a place, return a text there; anchor is start, middle or end."""
    return format_html(
        '<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>', x, number(y), anchor, classes, content
    )


def line(x1: str, y1: float, x2: str, y2: float, classes: str) -> SafeString:
    """Given two places, return a line between them."""
    return format_html(
        '<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>', x1, number(y1), x2, number(y2), classes
    )


def rect(
    x: str, y: float, width: str, height: float, classes: str, title: str = "", radius: int = 2
) -> SafeString:
    """Given a box, return it; the title is shown by the browser on hover."""
    hint = format_html("<title>{}</title>", title) if title else ""
    return format_html(
        '<rect x="{}" y="{}" width="{}" height="{}" rx="{}" class="{}">{}</rect>',
        x,
        number(y),
        width,
        number(height),
        radius,
        classes,
        hint,
    )


def curve(places: Sequence[tuple[float, float]], top: float, height: float, tone: str = "") -> SafeString:
    """Given places as shares of 1 (x from the left, y from the bottom), return the area and its line."""
    if not places:
        return mark_safe("")
    steps = [f"{number(x * PLOT_WIDTH)} {number((1 - y) * PLOT_HEIGHT)}" for x, y in places]
    path = "M" + "L".join(steps)
    first, last = number(places[0][0] * PLOT_WIDTH), number(places[-1][0] * PLOT_WIDTH)
    return format_html(
        '<svg x="0" y="{}" width="100%" height="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">'
        '<path class="area {}" d="{}L{} {}L{} {}Z"/><path class="line {}" d="{}"/></svg>',
        number(top),
        number(height),
        PLOT_WIDTH,
        PLOT_HEIGHT,
        tone,
        path,
        last,
        PLOT_HEIGHT,
        first,
        PLOT_HEIGHT,
        tone,
        path,
    )


def round_up(value: float) -> float:
    """Given a positive number, return the next round one: the top of an axis."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * 0.9999)
