"""Throughput of a run, and sparklines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString

from backupsite.web.charts import svg
from backupsite.web.formatting import NBSP, format_duration, format_rate

MOST_PLACES = 240
TOP, HEIGHT = 18, 168


@dataclass(frozen=True)
class Sample:
    """How fast data moved at a moment, in seconds since the run's start."""

    at_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Span:
    """A stretch of the run in which the device was frozen (or the backup paused), in seconds since its
    start."""

    from_s: float
    to_s: float
    is_pause: bool = False


def thin_out(samples: Sequence[Sample], most: int = MOST_PLACES) -> list[Sample]:
    """Given samples in order, return at most `most`, each the mean of its neighbours."""
    if len(samples) <= most:
        return list(samples)
    size = -(-len(samples) // most)
    groups = [samples[i : i + size] for i in range(0, len(samples), size)]
    means = [Sample(g[-1].at_s, sum(s.bytes_per_s for s in g) / len(g)) for g in groups]
    return [samples[0], *means] if len(means) < most else means


def describe_throughput(samples: Sequence[Sample], freezes: Sequence[Span]) -> str:
    """Given what is drawn, return it in words."""
    if not samples:
        return "No data has moved yet."
    mean = sum(s.bytes_per_s for s in samples) / len(samples)
    best = max(s.bytes_per_s for s in samples)
    words = f"Mean {format_rate(mean)}, most {format_rate(best)} in {format_duration(samples[-1].at_s)}."
    frozen = sum(f.to_s - f.from_s for f in freezes if not f.is_pause)
    paused = sum(f.to_s - f.from_s for f in freezes if f.is_pause)
    words += f" Frozen for {format_duration(frozen)}." if frozen else ""
    return words + (f" Paused for the application for {format_duration(paused)}." if paused else "")


def draw_throughput(
    chart_id: str,
    samples: Sequence[Sample],
    freezes: Sequence[Span] = (),
    limit_bytes_per_s: float | None = None,
) -> SafeString:
    """Given the samples of a run in order, return the chart with its summary.

    The limit of the policy is a dashed line; each freeze is a band. Without samples the frame is drawn empty.
    """
    drawn = thin_out(samples)
    end_s = max([s.at_s for s in drawn] + [f.to_s for f in freezes], default=0) or 1
    top = svg.round_up(max([s.bytes_per_s for s in drawn] + [limit_bytes_per_s or 0], default=0))
    summary = describe_throughput(samples, freezes)
    places = [(s.at_s / end_s, s.bytes_per_s / top) for s in drawn]
    pauses = [_pause(span, end_s) for span in freezes if span.is_pause]
    frozen = [span for span in freezes if not span.is_pause]
    body = [*_grid(top), *pauses, svg.curve(places, TOP, HEIGHT), *_freezes(frozen, end_s)]
    if limit_bytes_per_s:
        y = TOP + HEIGHT * (1 - limit_bytes_per_s / top)
        body += [
            svg.line("0", y, "100%", y, "limit"),
            svg.text("100%", y - 6, f"Limit {_whole(limit_bytes_per_s)}", "end", "strong halo"),
        ]
    body += _times(end_s)
    return svg.figure(svg.chart(chart_id, "Throughput", summary, TOP + HEIGHT + 24, body), summary)


def _grid(top: float) -> list[SafeString]:
    lines = []
    for share in (1.0, 0.5):
        y = TOP + HEIGHT * (1 - share)
        lines += [
            svg.line("0", y, "100%", y, "grid-line"),
            svg.text("0", y - 5, _whole(top * share), classes="halo"),
        ]
    return [*lines, svg.line("0", TOP + HEIGHT, "100%", TOP + HEIGHT, "axis")]


def _whole(bytes_per_s: float) -> str:
    # "200 MB/s" on an axis; the decimal only when it says something.
    return format_rate(bytes_per_s).replace(f".0{NBSP}", NBSP)


def _freezes(freezes: Sequence[Span], end_s: float) -> list[SafeString]:
    bands = []
    for freeze in freezes:
        share = freeze.from_s / end_s
        # Never thinner than can be seen: most freezes are far under a second.
        width = max((freeze.to_s - freeze.from_s) / end_s, 0.005)
        words = f"Freeze, {format_duration(freeze.to_s - freeze.from_s)}"
        bands += [
            svg.rect(svg.percent(share), TOP, svg.percent(width), HEIGHT, "freeze", words, radius=0),
            svg.text(
                svg.percent(share + width + 0.006) if share < 0.7 else svg.percent(share - 0.006),
                TOP + 14,
                "Freeze",
                "start" if share < 0.7 else "end",
                "strong halo",
            ),
        ]
    return bands


def _pause(pause: Span, end_s: float) -> SafeString:
    width = max((pause.to_s - pause.from_s) / end_s, 0.002)
    words = f"Paused, {format_duration(pause.to_s - pause.from_s)}"
    return svg.rect(
        svg.percent(pause.from_s / end_s), TOP, svg.percent(width), HEIGHT, "pause", words, radius=0
    )


def _times(end_s: float) -> list[SafeString]:
    y = TOP + HEIGHT + 18
    return [
        svg.text("0", y, "Start"),
        svg.text("50%", y, f"+{format_duration(end_s / 2)}", "middle"),
        svg.text("100%", y, f"+{format_duration(end_s)}", "end"),
    ]


def draw_sparkline(
    chart_id: str,
    title: str,
    values: Sequence[float],
    tone: str = "",
    words: str = "",
    *,
    before: float = 0.0,
    least_top: float = 0.0,
) -> SafeString:
    """Given values in order of time, return a small curve without axes; zero is its floor.

    `before` is the share of the width that was before what is shown: grey. `least_top` keeps small values
    small. `words` says what the values mean;
    without it the first and the last value are named."""
    if not values:
        return svg.chart(chart_id, title, "No values yet.", 36, [svg.line("0", 34, "100%", 34, "grid-line")])
    top = max(max(values), least_top, 1e-9) * 1.08
    steps = max(len(values) - 1, 1)
    places = [(i / steps, max(value, 0) / top) for i, value in enumerate(values)]
    if len(places) == 1:
        places.append((1.0, places[0][1]))
    summary = words or f"From {svg.number(values[0])} to {svg.number(values[-1])}."
    grey = [svg.rect("0", 0, svg.percent(before), 36, "before", radius=0)] if before > 0 else []
    return svg.chart(chart_id, title, summary, 36, [*grey, svg.curve(places, 2, 33, tone)])
