"""What a run that has ended comes to: the outcome in one sentence, and what it means for restoring."""

from __future__ import annotations

from dataclasses import dataclass

from agents.errors import DrillRefuted, HoursBlocked, RepositoryDamaged
from backupsite.runs.models import Run
from backupsite.runs.states import State
from backupsite.web.formatting import format_count
from backupsite.web.status import Tone


@dataclass(frozen=True)
class Report:
    """`title` and `meaning` are our own words; an error of the run is shown beside them."""

    tone: Tone
    icon: str
    title: str
    meaning: str


_LOOKS: dict[State, tuple[Tone, str]] = {
    State.SUCCEEDED: ("good", "good"),
    State.WARNINGS: ("warn", "warn"),
    State.FAILED: ("bad", "failed"),
    State.ERRORED: ("bad", "bad"),
    State.LOST: ("bad", "unplugged"),
    State.CANCELLED: ("off", "cancelled"),
}
_OVER: dict[State, str] = {
    State.FAILED: "failed",
    State.ERRORED: "was stopped by a fault in Hotfleet",
    State.LOST: "lost its worker",
    State.CANCELLED: "was cancelled",
}
_NOUNS = {
    Run.BACKUP: "The backup",
    Run.RESTORE: "The restore",
    Run.COMEBACK: "The restore of the application",
    Run.FORECAST: "The forecast",
    Run.DRILL: "The drill",
    Run.SAMPLE: "The sample",
    Run.PROBE: "The check",
    Run.SCAN: "Fetching the host keys",
    Run.BROWSE: "Reading the folder",
    Run.DOWNLOAD: "Preparing the download",
    Run.LOG: "Storing the log",
    Run.CHECK: "The check of the repository",
    Run.PRUNE: "The removal of old data",
    Run.COPY: "The second copy",
    Run.ADOPT: "The adoption of the repository",
}
_DONE = {
    Run.COMEBACK: ("The application is back", "It was started on the restored data, and it answers."),
    Run.FORECAST: ("The forecast is made", "Nothing on the device was changed."),
    Run.DRILL: ("The drill passed", "The data was restored, tried and removed again."),
    Run.SAMPLE: ("What was read is whole", "All of the structure and some files; nothing was restored."),
    Run.PROBE: ("The device was checked", "What was found stands below; nothing on the device was changed."),
    Run.SCAN: (
        "The host keys were fetched",
        "Nobody authenticated. A new key waits until a person approves it.",
    ),
    Run.BROWSE: ("The folder was read", "It opens at once from now on."),
    Run.DOWNLOAD: ("The download is ready", "It is whole; it is kept for some hours."),
    Run.LOG: ("The log is in the repository", "It was read back before it left the console's spool."),
    Run.CHECK: ("What was checked is whole", "Every file that was read is what was stored."),
    Run.PRUNE: ("Old data was removed", "Only what no restore point needs any more; the log says what."),
    Run.COPY: ("The second copy is complete", "Every restore point that it keeps was copied and read back."),
    Run.ADOPT: ("The repository was adopted", "Its snapshots are restore points now."),
}
_NOT_DONE = {
    Run.BACKUP: "This run made no restore point. Those that exist are untouched and can be restored.",
    Run.RESTORE: (
        "Each file in its place is either the old or the restored one, never half. The restore point is "
        "untouched: try it again."
    ),
    Run.COMEBACK: "What the application had before is in place again, unless the log says otherwise.",
    Run.FORECAST: "Nothing on the device was changed. A restore looks again by itself.",
    Run.DRILL: "It could not be done, which says nothing about the restore point.",
    Run.SAMPLE: "It could not be done, which says nothing about the restore point.",
    Run.PROBE: "What is known about the device is from its check before.",
    Run.SCAN: "No key was taken over.",
    Run.BROWSE: "The restore point itself is untouched.",
    Run.DOWNLOAD: "Nothing is offered: a part of a file is never passed off as the whole.",
    Run.LOG: "The log is still in the console's spool: nothing is lost, and it is stored by the next run.",
    Run.CHECK: "It could not be done to its end, which says nothing about what it did not read.",
    Run.PRUNE: "Every restore point that was kept is untouched; the next run goes on where this one stopped.",
    Run.COPY: "The restore points themselves are untouched; the next run copies what is missing.",
    Run.ADOPT: "Nothing was written into the repository.",
}

_REFUTED = {
    Run.DRILL: (
        "The restore point failed its drill",
        "It was restored and tried: the evidence says what is wrong. Nothing of it stayed on the machine.",
    ),
    Run.SAMPLE: (
        "The restore point is not whole",
        "It was looked into, in its repository: the evidence says what is wrong.",
    ),
    Run.CHECK: (
        "The repository is damaged",
        "Restore points that need what is damaged are marked; the page of the repository says how to repair.",
    ),
}


def make_report(run: Run, point_count: int) -> Report | None:
    """Given a run and how many restore points it made, return its report; None while it works. Pure."""
    state = State(run.state)
    if not state.is_final:
        return None
    tone, icon = _LOOKS[state]
    if not state.is_good:
        if run.error_code in (DrillRefuted.code, RepositoryDamaged.code):
            return Report(tone, icon, *_REFUTED[run.kind])
        meaning = _NOT_DONE[run.kind]
        if run.kind == Run.RESTORE:
            meaning = _say_cut_restore(run, point_count)
        elif point_count:
            meaning = f"{_say_points(point_count)} made before it ended: what was stored can be restored."
        over = "stopped for blocked hours" if run.error_code == HoursBlocked.code else _OVER[state]
        return Report(tone, icon, f"{_NOUNS[run.kind]} {over}", meaning)
    title, meaning = _say_done(run, point_count)
    return Report(tone, icon, title, meaning)


def _say_cut_restore(run: Run, point_count: int) -> str:
    """What a restore that did not succeed leaves behind."""
    saved = " What it was to replace was saved before: it can be undone." if point_count else ""
    if run.request.get("mode") == "direct":
        return f"What was there may have been removed already, as it was asked for: restore again.{saved}"
    return f"{_NOT_DONE[Run.RESTORE]}{saved}"


def _say_done(run: Run, point_count: int) -> tuple[str, str]:
    if run.kind == Run.BACKUP:
        return _say_backup(run, point_count)
    if run.kind == Run.RESTORE:
        return _say_restore(run)
    return _DONE[run.kind]


def _say_backup(run: Run, point_count: int) -> tuple[str, str]:
    if run.state == State.WARNINGS:
        return (
            f"The backup is done, {_say_problems(run)}",
            "Everything else can be restored. What is named below is missing from it or not whole.",
        )
    if not point_count:
        return "The backup is done", "Its restore points have been removed since."
    return "Everything was backed up", f"{_say_points(point_count)} made, stored durably and read back."


def _say_points(count: int) -> str:
    return f"{format_count(count)} restore point{'s were' if count != 1 else ' was'}"


def _say_restore(run: Run) -> tuple[str, str]:
    if run.state == State.WARNINGS:
        return (
            f"The restore is done, {_say_problems(run)}",
            "What is named below is missing or differs from the restore point. The rest is in the folder.",
        )
    compared = "Every file was read again and compared with the restore point."
    if "undo" in run.request:
        return "The restore was undone", f"{compared} What the restore had replaced is back."
    replaces = run.request.get("conflict") == "replace" or run.request.get("mode") != "merge"
    kept = "What was in its way was replaced." if replaces else "What existed before was kept."
    return "Everything was restored", f"{compared} {kept}"


def _say_problems(run: Run) -> str:
    if not run.problem_count:
        return "with warnings"
    return f"but {format_count(run.problem_count)} file{'s' if run.problem_count != 1 else ''} had problems"
