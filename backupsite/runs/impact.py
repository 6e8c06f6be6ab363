"""What a device felt during a run, as the page of the run shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString

from backupsite.runs.models import RunFigure, RunImpact, RunPause
from backupsite.web.charts import draw_sparkline
from backupsite.web.formatting import format_duration, format_milliseconds, format_rate

MOST_PLACES = 120


def _share(value: float) -> str:
    return f"{value:.0%}".replace("%", "\N{NO-BREAK SPACE}%")


@dataclass(frozen=True)
class Kind:
    """A quantity that is shown: a field of RunImpact, its title, and how its values are written."""

    name: str
    title: str
    write: Callable[[float], str]
    least_top: float = 0.0


KINDS = (
    Kind("cpu", "Processors", _share, 1.0),
    Kind("io_pressure", "Waiting for disks", _share, 0.5),
    Kind("memory_pressure", "Waiting for memory", _share, 0.5),
    Kind("disk_wait_ms", "Disk latency", format_milliseconds, 5.0),
    Kind("disk_busy", "Busiest disk", _share, 1.0),
    Kind("network_bytes_s", "Network", format_rate),
)


@dataclass(frozen=True)
class Shown:
    """One quantity: its picture, what it is on average and at worst, and what it was before."""

    title: str
    drawing: SafeString
    mean: str
    worst: str
    before: str


def show_impact(
    impacts: Sequence[RunImpact], figures: Sequence[RunFigure], began_at: datetime | None
) -> list[Shown]:
    """Given what is stored of a run in order, and when its transfer began, return what was measured. Pure.

    The figures are of the whole run, the picture of what was kept of it; while it runs there are no
    figures."""
    by_name = {figure.name: figure for figure in figures if not figure.subject}
    shown = []
    for kind in KINDS:
        values = [(impact.at, getattr(impact, kind.name)) for impact in impacts]
        known = [(at, value) for at, value in values if value is not None]
        if known:
            shown.append(_show(kind, known, by_name.get(kind.name), began_at))
    return shown


@dataclass(frozen=True)
class Work:
    """What an application counted of its own work: its name, the quantity, during the run and since the
    backup before."""

    subject: str
    title: str
    mean: str
    before: str


def _rate(value: float) -> str:
    return f"{value:,.0f} a second" if value >= 10 else f"{value:.1f} a second"


# agents.applications.work has the names.
WORKS = (
    Kind("transactions_s", "Transactions", _rate),
    Kind("transaction_ms", "Time of a transaction", format_milliseconds),
    Kind("commands_s", "Commands", _rate),
    Kind("fork_ms", "Last fork", format_milliseconds),
)


def show_work(figures: Sequence[RunFigure]) -> list[Work]:
    """Given the figures of a run, return those that its applications told. Pure."""
    by_name = {kind.name: kind for kind in WORKS}
    told = [(figure, by_name[figure.name]) for figure in figures if figure.subject and figure.name in by_name]
    return [
        Work(figure.subject, kind.title, _words(kind, figure.mean), _words(kind, figure.before))
        for figure, kind in told
    ]


def _show(
    kind: Kind, values: list[tuple[datetime, float]], figure: RunFigure | None, began_at: datetime | None
) -> Shown:
    early = [value for at, value in values if began_at is not None and at < began_at]
    late = [value for at, value in values if began_at is None or at >= began_at]
    before = figure.before if figure is not None else _mean(early)
    mean = figure.mean if figure is not None else _mean(late)
    worst = figure.worst if figure is not None else max(late, default=None)
    said = [_words(kind, value) for value in (mean, worst, before)]
    thin = values[:: -(-len(values) // MOST_PLACES)]
    words = f"{said[0]} on average, {said[1]} at worst, {said[2]} before."
    drawing = draw_sparkline(
        f"impact-{kind.name.replace('_', '-')}",
        kind.title,
        [value for _, value in thin],
        "frost",
        words,
        before=len(early) / len(values),
        least_top=kind.least_top,
    )
    return Shown(kind.title, drawing, *said)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _words(kind: Kind, value: float | None) -> str:
    return "not known" if value is None else kind.write(value)


def describe_pauses(pauses: Sequence[RunPause]) -> str:
    """Given the pauses of a run, return what happened in one or two sentences, "" when there was none."""
    if not pauses:
        return ""
    times = "once" if len(pauses) == 1 else f"{len(pauses):,} times"
    total = format_duration(sum(pause.seconds for pause in pauses))
    said = f"The disks were waited for too much: the backup paused {times}, for {total} in all."
    if any(pause.reason == "others" for pause in pauses):
        said += " Some of the waiting went on while it paused: that was not the backup."
    return said
