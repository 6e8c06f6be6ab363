"""The log of a run as people read it: lines on the page, and the whole of it as plain text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import QuerySet

from backupsite.runs.models import Run, RunLine
from backupsite.runs.states import State
from backupsite.web.visible import make_visible

NEWEST = 500
TONES = {"warning": "warn", "error": "bad"}


@dataclass(frozen=True)
class LogLine:
    at: datetime
    text: str
    tone: str


@dataclass(frozen=True)
class Log:
    """The newest lines in their order, how many older ones there are, and a mark of its state."""

    lines: list[LogLine]
    older_count: int
    mark: str


def read_log(run: Run, *, with_commands: bool) -> Log:
    """Given a run, return the newest lines of its log. Runs three queries."""
    mark = read_mark(run)
    rows = find_lines(run, with_commands=with_commands)
    newest = list(rows.order_by("-sequence")[:NEWEST])
    older_count = rows.count() - len(newest) if len(newest) == NEWEST else 0
    return Log([line for row in reversed(newest) for line in make_lines(row)], older_count, mark)


def read_mark(run: Run) -> str:
    """Given a run, return what changes whenever its log grows or ends. Runs one query."""
    newest = RunLine.objects.filter(run=run).order_by("-sequence").values_list("sequence", flat=True).first()
    return f"{newest or 0}-{'over' if State(run.state).is_final else 'open'}"


def find_lines(run: Run, *, with_commands: bool) -> QuerySet[RunLine]:
    """Given a run, return its lines without the files, which have a list of their own."""
    wanted = [RunLine.LINE, RunLine.COMMAND] if with_commands else [RunLine.LINE]
    return RunLine.objects.filter(run=run, kind__in=wanted)


def make_lines(row: RunLine) -> list[LogLine]:
    """Given a stored line, return it for the page; a command and how it ended are two lines. Other new lines
    stay inside of their line, made visible: a device must not be able to write lines of its own."""
    tone = TONES.get(row.level, "")
    if row.kind != RunLine.COMMAND:
        return [LogLine(row.at, row.text, tone)]
    command, _, ending = row.text.rpartition("\n")
    lines = [LogLine(row.at, f"$ {command or ending}", tone or "frost")]
    return [*lines, LogLine(row.at, f"  {ending}", tone)] if command else lines


def write_text(run: Run) -> Iterator[str]:
    """Given a run, return its whole log as plain text, a few lines in memory at a time. Control characters
    are visible, so that no terminal obeys them; times are in UTC."""
    yield f"Hotfleet run {run.number}: {run.kind} of {make_visible(run.device.name)}, {run.state}\n"
    if run.error_text:
        yield from (f"# {make_visible(line)}\n" for line in [run.error_text, run.error_remedy] if line)
        yield from (f"# {make_visible(line)}\n" for line in run.error_detail.split("\n") if line)
    for row in RunLine.objects.filter(run=run).order_by("sequence").iterator(chunk_size=1000):
        head = f"{row.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3]
        first, *rest = row.text.split("\n")
        yield f"{head}Z {row.kind:<7} {row.level:<7} {make_visible(first)}\n"
        yield from (f"{'':>41}{make_visible(line)}\n" for line in rest)
