"""The picture of a storage: what was used on each day, what it holds in all, and where the line leads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from django.utils.safestring import SafeString

from backupsite.repositories.space import SHOWN, Outlook, Used, describe
from backupsite.web.charts import svg
from backupsite.web.formatting import format_bytes

_TOP, _HEIGHT = 18, 96


def draw_space(
    chart_id: str, samples: Sequence[Used], total_bytes: int, outlook: Outlook, today: date
) -> SafeString:
    """Given samples of the last 30 days, return the chart: as many days ahead as behind, and the sentence."""
    begin = today - SHOWN
    width_days = 2 * SHOWN.days
    top = max([total_bytes, *(each.used_bytes for each in samples)]) * 1.08 or 1
    places = [((each.day - begin).days / width_days, each.used_bytes / top) for each in samples]
    limit = _y(total_bytes / top)
    body = [
        svg.curve(places, _TOP, _HEIGHT),
        svg.line("0", limit, "100%", limit, "limit"),
        svg.text("0", limit - 5, f"Full: {format_bytes(total_bytes)}", classes="strong halo"),
        *_lead_on(samples, outlook, top, begin, width_days),
        svg.line("0", _TOP + _HEIGHT, "100%", _TOP + _HEIGHT, "axis"),
        svg.text("0", _TOP + _HEIGHT + 16, f"{begin:%d %b}"),
        svg.text("50%", _TOP + _HEIGHT + 16, "today", "middle"),
        svg.text("100%", _TOP + _HEIGHT + 16, f"{today + SHOWN:%d %b}", "end"),
    ]
    summary = describe(outlook)
    return svg.figure(svg.chart(chart_id, "Space in use", summary, _TOP + _HEIGHT + 22, body), summary)


def _y(share: float) -> float:
    return _TOP + _HEIGHT * (1 - share)


def _lead_on(
    samples: Sequence[Used], outlook: Outlook, top: float, begin: date, width_days: int
) -> list[SafeString]:
    """The straight line into the future, until the edge of the picture or of the storage."""
    if outlook.bytes_per_day is None or outlook.bytes_per_day <= 0:
        return []
    newest = samples[-1]
    start = (newest.day - begin).days
    until = min(width_days, start + (top - newest.used_bytes) / outlook.bytes_per_day)
    reached = newest.used_bytes + (until - start) * outlook.bytes_per_day
    x1, x2 = svg.percent(start / width_days), svg.percent(until / width_days)
    return [svg.line(x1, _y(newest.used_bytes / top), x2, _y(reached / top), "limit")]
