"""The page of one run: live while it works, the report afterwards. It joins a run with what it made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents.events import Phase
from backupsite.console.ticks import make_ticks
from backupsite.recovery.drill_words import find_drilled
from backupsite.recovery.models import Download, RestorePoint
from backupsite.recovery.restores import may_undo
from backupsite.recovery.undo_page import find_undo
from backupsite.recovery.words import describe_restore, show_points
from backupsite.runs.freezes import show_freezes
from backupsite.runs.impact import describe_pauses, show_impact, show_work
from backupsite.runs.log import read_log, read_mark
from backupsite.runs.looks import percent_done, run_status, run_title
from backupsite.runs.models import Run, RunLine, RunPhase
from backupsite.runs.pace import draw_pace, make_pace
from backupsite.runs.phases import make_phases
from backupsite.runs.report import make_report
from backupsite.runs.states import State
from backupsite.runs.waiting import explain_one
from backupsite.web.visible import make_visible

MOST_FILES = 100


@require_safe
def run(request: HttpRequest, number: int) -> HttpResponse:
    found = Run.objects.select_related("device", "policy", "retry_of")
    shown = get_object_or_404(found, number=number)
    now = timezone.now()
    part = request.GET.get("part", "")
    with_commands = request.GET.get("commands") == "1"
    parts: dict[str, tuple[str, Callable[[], dict[str, Any]]]] = {
        "head": ("runs/run_head.html", lambda: head_context(shown)),
        "live": ("runs/run_live.html", lambda: live_context(shown, now)),
        "log": ("runs/run_log.html", lambda: log_context(shown, with_commands)),
    }
    if part == "log" and request.GET.get("have") == read_mark(shown):
        # Five hundred lines are not sent each second while only the numbers change.
        return HttpResponse(status=204)
    if part in parts:
        template, make_context = parts[part]
        return render(request, template, make_context())
    context: dict[str, Any] = {
        "crumbs": [
            ("Runs", reverse("runs")),
            (make_visible(shown.device.name), shown.device.get_absolute_url()),
            (f"#{shown.number}", ""),
        ],
    }
    for _, make_context in parts.values():
        context |= make_context()
    return render(request, "runs/run.html", context)


def head_context(run: Run) -> dict[str, Any]:
    """Return what the head shows: title, state, facts and buttons. Runs one query for the retries."""
    state = State(run.state)
    percent = percent_done(run)
    return {
        "run": run,
        "drilled": find_drilled(run) if run.kind in (Run.DRILL, Run.SAMPLE) else None,
        "is_over": state.is_final,
        "status": run_status(run),
        "title": run_title(run),
        "tab_title": _tab_title(run, percent),
        "may_try_again": run.kind == Run.BACKUP and state.is_final and run.policy_id is not None,
        "try_again_words": "Back up again" if state.is_good else "Try again",
        "retries": list(run.retries.order_by("number")) if state.is_final else [],
    }


def _tab_title(run: Run, percent: int | None) -> str:
    name = make_visible(run.device.name)
    state = State(run.state)
    if state.is_final:
        return f"{'Done' if state.is_good else state.label} · {name}"
    return f"{percent} % · {name}" if percent is not None else f"{run_title(run)}"


def live_context(run: Run, now: datetime) -> dict[str, Any]:
    """Return what changes while the run works, and what it made. Runs at most fourteen queries."""
    phases, samples = list(run.phases.all()), list(run.samples.all())
    freezes, pauses = list(run.freezes.all()), list(run.pauses.all())
    impacts, figures = list(run.impacts.all()), list(run.figures.all())
    points = list(RestorePoint.objects.filter(run=run))
    files = RunLine.objects.filter(run=run, kind=RunLine.FILE).order_by("sequence")
    state = State(run.state)
    is_undoable = run.kind == Run.RESTORE and bool(points) and may_undo(run)
    is_unprotected = run.kind == Run.BACKUP and state.is_final and not state.is_good
    return {
        "run": run,
        "now": now,
        "is_over": state.is_final,
        "is_waiting": state == State.QUEUED,
        "wait": explain_one(run, now),
        "percent": percent_done(run),
        "pace": make_pace(run, samples, phases, now),
        "throughput": draw_pace(run, samples, freezes, pauses),
        "impact": show_impact(impacts, figures, _transfer_start(phases)) if impacts else [],
        "work": show_work(figures),
        "pauses": describe_pauses(pauses),
        "phases": make_phases(run, phases, now),
        "freezes": show_freezes(freezes),
        "moves_data": run.kind in (Run.BACKUP, Run.RESTORE, Run.COMEBACK, Run.DOWNLOAD, Run.CHECK)
        or (run.kind == Run.DRILL and state != State.QUEUED),
        "took": run.ended_at - run.started_at if run.started_at and run.ended_at else None,
        "report": make_report(run, len(points) if is_undoable or run.kind != Run.RESTORE else 0),
        "points": show_points(points),
        # What a restore saved before it replaced it.
        "may_undo": is_undoable,
        "undo": find_undo(run) if is_undoable else None,
        "files": list(files[:MOST_FILES]) if run.problem_count else [],
        "newest_point": _newest_point(run) if is_unprotected else None,
        "asks_for_point": is_unprotected,
        "restore": describe_restore(run) if run.kind in (Run.RESTORE, Run.COMEBACK) else None,
        "download": Download.objects.filter(run=run).first() if run.kind == Run.DOWNLOAD else None,
        "ticks": make_ticks(run) if run.kind == Run.PROBE else [],
    }


def _transfer_start(phases: list[RunPhase]) -> datetime | None:
    return next((phase.started_at for phase in phases if phase.name == Phase.TRANSFER), None)


def _newest_point(run: Run) -> RestorePoint | None:
    """What can be restored although this run failed."""
    return RestorePoint.objects.filter(device=run.device, policy=run.policy).order_by("-made_at").first()


def log_context(run: Run, with_commands: bool) -> dict[str, Any]:
    """Return the log. Runs three queries."""
    return {
        "run": run,
        "is_over": State(run.state).is_final,
        "log": read_log(run, with_commands=with_commands),
        "with_commands": with_commands,
    }
