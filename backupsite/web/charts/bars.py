"""One bar cut into segments, its legend, and the freeze against its limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from backupsite.web.charts import svg
from backupsite.web.formatting import format_count, format_duration
from backupsite.web.status import Tone

SMALLEST_SHARE = 0.012
GAP_SHARE = 0.003


@dataclass(frozen=True)
class Segment:
    """A part of a whole: how many, in which tone. With an address its legend is a link."""

    label: str
    value: int
    tone: Tone
    url: str = ""
    said: str = ""  # the value in words, where it is no count

    @property
    def words(self) -> str:
        return self.said or format_count(self.value)


def share_out(values: Sequence[int]) -> list[float]:
    """Given counts, return shares that add up to 1; none above zero is too small to be seen."""
    total = sum(values)
    if total <= 0:
        return [0.0 for _ in values]
    raised = [max(value / total, SMALLEST_SHARE) if value else 0.0 for value in values]
    return [share / sum(raised) for share in raised]


def describe_segments(segments: Sequence[Segment]) -> str:
    """Given the segments, return them in words."""
    return ", ".join(f"{s.words} {s.label}" for s in segments) or "Nothing."


def draw_segments(chart_id: str, title: str, segments: Sequence[Segment], height: int = 10) -> SafeString:
    """Given segments, return one bar of their shares. Put draw_legend beside it: colour says nothing."""
    start, body = 0.0, [svg.rect("0", 0, "100%", height, "track", radius=3)] if not segments else []
    for segment, share in zip(segments, share_out([s.value for s in segments]), strict=True):
        if share:
            width = share if start + share > 0.999 else max(share - GAP_SHARE, share / 2)
            hint = f"{segment.words} {segment.label}"
            place, size = svg.percent(start), svg.percent(width)
            body.append(svg.rect(place, 0, size, height, f"mark {segment.tone}", hint, radius=3))
        start += share
    return svg.chart(chart_id, title, describe_segments(segments), height, body)


def draw_legend(segments: Sequence[Segment]) -> SafeString:
    """Given segments, return a list of swatch, number and word."""
    swatch = (
        '<svg class="swatch mark {}" viewBox="0 0 12 12" aria-hidden="true">'
        '<rect width="12" height="12" rx="3"/></svg>'
    )
    items = format_html_join(
        "",
        "<li>{}<span>{}</span></li>",
        ((format_html(swatch, s.tone), _words(s)) for s in segments),
    )
    return format_html('<ul class="legend">{}</ul>', items)


def _words(segment: Segment) -> SafeString:
    words = format_html("<strong>{}</strong> {}", segment.words, segment.label)
    return format_html('<a href="{}">{}</a>', segment.url, words) if segment.url else words


def draw_freeze(chart_id: str, frozen_s: float, limit_s: float, word: str = "frozen") -> SafeString:
    """Given the freeze and the policy's limit in seconds, return the bar of one against the other.

    `word` is "frozen", or "stopped" for a downtime."""
    top = max(frozen_s * 1.08, limit_s, 0.001)
    is_over = frozen_s > limit_s
    frozen = format_duration(frozen_s)
    limit_words = f"{'over' if is_over else 'within'} the limit of {format_duration(limit_s)}"
    summary = f"{word.capitalize()} for {frozen}, {limit_words}."
    share, limit = frozen_s / top, limit_s / top
    inside = share > 0.5
    words = svg.text(
        svg.percent(share - 0.02 if inside else share + 0.02),
        36,
        f"{frozen} {word}",
        "end" if inside else "start",
        "strong halo",
    )
    body = [
        svg.text("100%", 12, f"limit {format_duration(limit_s)}", "end"),
        svg.rect("0", 20, "100%", 24, "track", radius=4),
        svg.rect(
            "0", 20, svg.percent(max(share, 0.01)), 24, f"mark {'bad' if is_over else 'frost'}", radius=4
        ),
        svg.line(svg.percent(limit), 16, svg.percent(limit), 48, "limit"),
        words,
    ]
    return svg.chart(chart_id, "Freeze" if word == "frozen" else "Downtime", summary, 52, body)
