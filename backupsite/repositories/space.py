"""How full storages are, how fast they grow, and when they will be full. Pure, but for samples and queries.

One sample a day for each storage and each repository. The date is a straight line through the last 30 days:
it is said from how many days, and nothing is said from one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Final, NamedTuple

from django.db.models import Sum

from agents.errors import AgentError
from backupsite.repositories.hanging import StorageHangs, ask_disk
from backupsite.repositories.models import Repository, SpaceSample, Storage
from backupsite.repositories.nodes import list_here
from backupsite.repositories.storage import measure_storage, require_storage
from backupsite.web.formatting import format_bytes

SHOWN: Final = timedelta(days=30)
KEPT: Final = timedelta(days=400)
# A line through fewer days is shown with a warning, and alarms nobody.
TRUSTED_DAYS: Final = 7
ALARM_SHARE: Final = 0.9
ALARM_DAYS: Final = 14
# Further away no straight line leads.
FARTHEST: Final = timedelta(days=3650)


class Unmeasured(NamedTuple):
    """A storage that could not be measured, and why."""

    storage: Storage
    error: Exception

    def __str__(self) -> str:
        return f"{self.storage.name}: {self.error}"


class Used(NamedTuple):
    """What was used on a day."""

    day: date
    used_bytes: int


@dataclass(frozen=True)
class Outlook:
    """What samples say. `bytes_per_day` is None when there are too few, `full_on` when never, or far."""

    bytes_per_day: float | None
    span_days: int
    full_on: date | None


def look_ahead(samples: Sequence[Used], free_bytes: int | None) -> Outlook:
    """Given samples in order and what is free now, return how it goes on."""
    if len(samples) < 2:
        return Outlook(None, 0, None)
    first, last = samples[0].day, samples[-1].day
    span = (last - first).days
    slope = fit_line([((each.day - first).days, each.used_bytes) for each in samples])
    if free_bytes is None or slope <= 0 or free_bytes / slope > FARTHEST.days:
        return Outlook(slope, span, None)
    return Outlook(slope, span, last + timedelta(days=max(int(free_bytes / slope), 0)))


def fit_line(points: Sequence[tuple[float, float]]) -> float:
    """Given points, return the slope of the line with the least squares; 0 when all have the same x."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def describe(outlook: Outlook) -> str:
    """Return an outlook in one honest sentence."""
    if outlook.bytes_per_day is None:
        return "How fast it grows is known after two days of measurements."
    begin = f"Measured for {outlook.span_days} days only: it" if outlook.span_days < TRUSTED_DAYS else "It"
    if outlook.bytes_per_day <= 0:
        return f"{begin} does not grow."
    grows = f"{begin} grows by {format_bytes(outlook.bytes_per_day)} a day"
    if outlook.full_on is None:
        return f"{grows}; at this pace it is not full within ten years."
    return f"{grows}; at this pace it is full on {outlook.full_on:%Y-%m-%d}."


def find_alarm(total: int | None, free: int | None, outlook: Outlook, today: date) -> str:
    """Return why people must be told of a storage, "" when nothing is wrong."""
    if free is None or not total:
        return ""
    share = 1 - free / total
    if share >= ALARM_SHARE:
        return f"{share:.0%} of it is used, {format_bytes(free)} are free."
    is_soon = outlook.full_on is not None and outlook.full_on <= today + timedelta(days=ALARM_DAYS)
    if is_soon and outlook.span_days >= TRUSTED_DAYS:
        return f"It will be full on {outlook.full_on:%Y-%m-%d}: {describe(outlook)}"
    return ""


def is_sampled(today: date) -> bool:
    """Return True when every storage of this node that could be measured was, today. Runs two queries."""
    done = set(SpaceSample.objects.filter(day=today, repository=None).values_list("storage", flat=True))
    return done >= set(list_here().values_list("pk", flat=True))


def take_samples(today: date) -> list[Unmeasured]:
    """Measure the storages of this node, write down what they and their repositories take. Daily, by workers.

    Return those that could not be measured: they are tried again later."""
    problems = []
    for storage in list_here():
        try:
            measure_storage(storage)
        except (AgentError, OSError) as error:
            problems.append(Unmeasured(storage, error))
            continue
        _write(storage, today)
    SpaceSample.objects.filter(day__lt=today - KEPT).delete()
    return problems


def find_hanging() -> list[Unmeasured]:
    """Return the storages of this node whose disk does not answer now. Runs one query."""
    found = []
    for storage in list_here().filter(kind=Storage.DIRECTORY).select_related("node"):
        try:
            ask_disk(storage.path, partial(require_storage, storage))
        except StorageHangs as error:
            found.append(Unmeasured(storage, error))
        except (AgentError, OSError):
            continue  # it answers: what it lacks is told by whoever works there
    return found


def _write(storage: Storage, today: date) -> None:
    repositories = Repository.objects.filter(storage=storage).exclude(measured_at=None)
    own = repositories.aggregate(total=Sum("used_bytes"))["total"] or 0
    used = (
        storage.total_bytes - storage.free_bytes
        if storage.total_bytes and storage.free_bytes is not None
        else own
    )
    SpaceSample.objects.update_or_create(
        storage=storage, repository=None, day=today,
        defaults={"used_bytes": used, "free_bytes": storage.free_bytes},
    )  # fmt: skip
    SpaceSample.objects.filter(repository__in=repositories, day=today).delete()
    SpaceSample.objects.bulk_create(
        SpaceSample(storage=storage, repository=each, day=today, used_bytes=each.used_bytes)
        for each in repositories
    )


def read_storages(today: date) -> dict[int, list[Used]]:
    """Return the samples of the last 30 days of each storage, in order. Runs one query."""
    rows = SpaceSample.objects.filter(repository=None, day__gte=today - SHOWN).order_by("day")
    found: dict[int, list[Used]] = defaultdict(list)
    for storage, day, used in rows.values_list("storage_id", "day", "used_bytes"):
        found[storage].append(Used(day, used))
    return found


def read_growth(today: date) -> dict[int, float]:
    """Return how many bytes each repository grew by a day within the last 30. Runs one query."""
    rows = SpaceSample.objects.filter(day__gte=today - SHOWN).exclude(repository=None).order_by("day")
    found: dict[int, list[Used]] = defaultdict(list)
    for repository, day, used in rows.values_list("repository_id", "day", "used_bytes"):
        found[repository].append(Used(day, used))
    outlooks = {key: look_ahead(samples, None) for key, samples in found.items()}
    return {key: each.bytes_per_day for key, each in outlooks.items() if each.bytes_per_day is not None}
