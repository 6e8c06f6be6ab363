"""How restore points and restores are said on pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.utils import timezone

from agents.comeback import Way
from agents.events import Consistency
from agents.snapshots import providers
from backupsite.policies.naming import name_source
from backupsite.recovery.folders import decode_folder, decode_path
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.wal.replays import NEWEST
from backupsite.runs.models import Run
from backupsite.web.formatting import format_count
from backupsite.web.status import Status
from backupsite.web.visible import make_visible

UNKNOWN = Status("Consistency not known", "off", "help")
CONSISTENCIES: dict[str, tuple[Status, str]] = {
    Consistency.APPLICATION: (
        Status("Application-consistent", "good", "good"),
        "The application brought its data into a clean state first: it starts from this as after a stop.",
    ),
    Consistency.FILE_SYSTEM: (
        Status("File-system-consistent", "good", "good"),
        "The file system was held for the moment of the snapshot: every file is as it was at one moment.",
    ),
    Consistency.CRASH: (
        Status("Crash-consistent", "neutral", "snapshot"),
        "Everything is from one moment, as after a power cut: databases recover by their own journal.",
    ),
    Consistency.NONE: (
        Status("Not from one moment", "warn", "warn"),
        "The live files were read one after the other: files that change together may not fit together.",
    ),
}

DAMAGED = Status("Damaged", "bad", "bad")
DRILLED = {
    RestorePoint.PROVEN: Status("Proven by a drill", "good", "drill"),
    RestorePoint.SAMPLED: Status("Sampled, not drilled", "neutral", "search"),
    RestorePoint.REFUTED: Status("Failed its drill", "bad", "failed"),
}


def say_drilled(point: RestorePoint) -> str:
    """Given a restore point, return what its newest drill proved, to be put behind words; "" without one."""
    status = DRILLED.get(point.drill_state)
    return f", {status.label[0].lower()}{status.label[1:]}" if status is not None else ""


@dataclass(frozen=True)
class ShownPoint:
    """A restore point with its words, for lists and its page."""

    point: RestorePoint

    @property
    def consistency(self) -> Status:
        return CONSISTENCIES.get(self.point.consistency, (UNKNOWN, ""))[0]

    @property
    def meaning(self) -> str:
        """One sentence about what the consistency means."""
        return CONSISTENCIES.get(self.point.consistency, (UNKNOWN, "Nothing is known about it."))[1]

    @property
    def completeness(self) -> Status:
        if self.point.damage:
            return DAMAGED
        return (
            Status("Complete", "good", "good")
            if self.point.is_complete
            else Status("Not complete", "warn", "warn")
        )

    @property
    def drill(self) -> Status | None:
        """What its newest drill proved; None when nobody drilled it."""
        return DRILLED.get(self.point.drill_state)

    @property
    def method(self) -> str:
        return say_method(self.point.method)

    @property
    def name(self) -> str:
        return name_source(self.point.source, self.point.part)

    @property
    def source_name(self) -> str:
        return name_source(self.point.source)

    @property
    def is_application(self) -> bool:
        return not self.point.source.startswith("/")

    @property
    def sentence(self) -> str:
        """What it is, in words: "PostgreSQL 15/main, stream base.tar, application-consistent"."""
        label = self.consistency.label
        return f"{self.name}, {label[0].lower()}{label[1:]}{say_drilled(self.point)}"


def show_points(points: Iterable[RestorePoint]) -> list[ShownPoint]:
    """Given restore points, return them with their words."""
    return [ShownPoint(point) for point in points]


# The first word of a method, when an application or a stop was in it; what follows are snapshot providers.
HOW = {
    "snapshot": "held for a snapshot",
    "stream": "streamed by its own program",
    "copy": "copied while it ran",
    "dump": "dumped",
    "cold": "cold",
    "bare": "not asked to hold still",
}


def say_method(method: str) -> str:
    """Given a restore point's method ("btrfs+live", "cold+lvm"), return it in words."""
    known = providers()
    words = method.split("+")
    how = HOW.get(words[0], "")
    labels = {name: provider.label for name, provider in known.items()}
    if words[0] == "cold":
        labels["live"] = "without a snapshot"
    below = [labels.get(name, name) for name in (words[1:] if how else words)]
    said = ", ".join(each for each in (how, " and ".join(below)) if each)
    return make_visible(said[:1].upper() + said[1:] if how else said)


@dataclass(frozen=True)
class RestoreWords:
    """What a restore run was asked for, ready to be shown. `point` None: it is gone, or it is an undo."""

    what: str
    target: str
    point: RestorePoint | None
    is_undo: bool = False


WAYS = {Way.IN_PLACE: "its place", Way.BESIDE: "a place of its own", Way.DATABASE: "its server"}


def describe_restore(run: Run) -> RestoreWords:
    """Given a run that restores files or an application, return what it restores to where. Runs one query."""
    wanted = run.request.get("point") or next(iter(run.request.get("points", ())), None)
    point = (
        RestorePoint.objects.filter(pk=UUID(wanted), device=run.request.get("of", run.device_id)).first()
        if wanted
        else None
    )
    what, target = say_restore(run)
    return RestoreWords(what, target, point, is_undo="undo" in run.request)


def say_restore(run: Run) -> tuple[str, str]:
    """Given a run that restores, return what it restores and to where, ready to be shown. Pure."""
    said = run.request
    if "undo" in said:
        return f"Undo of run #{int(said['number'])}", "where it was before"
    if "way" in said:
        name = said["new_name"] or said["folder"]
        where = f"{WAYS[Way(said['way'])]}{f' as {make_visible(name)}' if name else ''}"
        return f"{name_source(said['source'])}{say_until(said.get('moment', ''))}", where
    target = said["target"]
    what = say_what(decode_folder(said["folder"]), [decode_path(name) for name in said["names"]])
    return what, make_visible(target) if target is not None else "its original place"


def say_until(word: str) -> str:
    """Given the moment of a request (`wal.replays`), return it to be put behind a name; "" without one."""
    if not word:
        return ""
    if word == NEWEST:
        return ", as far as its log goes"
    return f", as of {timezone.localtime(datetime.fromisoformat(word)):%Y-%m-%d %H:%M:%S %Z}"


def say_what(folder: str, names: list[str]) -> str:
    """Given a folder and the names picked in it, return what is restored, ready to be shown."""
    if not names:
        return f"Everything in {make_visible(folder)}"
    if len(names) == 1:
        return f"{make_visible(names[0])} of {make_visible(folder)}"
    return f"{format_count(len(names))} entries of {make_visible(folder)}"
