"""Charts drawn on the server as SVG: no script, no inline style, so they work under the CSP and in print.

Horizontal positions are percent and curves sit in a nested, stretched viewBox, so a chart fits any width.
Colours come from classes (static/css/data.css). Each chart has a title and a summary in words.
"""

from backupsite.web.charts.bars import Segment, draw_freeze, draw_legend, draw_segments
from backupsite.web.charts.days import Day, draw_days
from backupsite.web.charts.lines import Sample, Span, draw_sparkline, draw_throughput
from backupsite.web.charts.timeline import Point, draw_timeline

__all__ = [
    "Day",
    "Point",
    "Sample",
    "Segment",
    "Span",
    "draw_days",
    "draw_freeze",
    "draw_legend",
    "draw_segments",
    "draw_sparkline",
    "draw_throughput",
    "draw_timeline",
]
