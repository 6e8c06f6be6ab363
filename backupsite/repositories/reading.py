"""How much of a storage maintenance may read, when, how fast; and how much it read. `find_closed` is pure.

Checks, copies and drills are held to it, backups and restores never. A budget is dealt out by the day, so
that what is new is read until the month ends; what a person asks for may take all that is left of it.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.db import transaction
from django.db.models import F, Sum

from backupsite.repositories.models import ReadingMonth, Repository, Storage
from backupsite.web.formatting import format_bytes
from backupsite.web.visible import make_visible

# What an object store is given when nobody says: the rotation, as much again for copies and drills, and
# something to begin with.
DEFAULT_TIMES, DEFAULT_MORE = 2, 10_000_000_000
NO_LIMIT = 0
_DAY = timedelta(days=1)
CODE = "storage-not-read-now"


@dataclass(frozen=True)
class Limits:
    """`budget_bytes` a month, None any amount; `begins` to `ends` (UTC) of each day, both None always;
    `rate_bytes_s` zero: as fast as it goes."""

    name: str
    budget_bytes: int | None = None
    begins: time | None = None
    ends: time | None = None
    rate_bytes_s: int = 0

    @property
    def is_any(self) -> bool:
        return self.budget_bytes is not None or self.begins is not None or self.rate_bytes_s > 0


@dataclass(frozen=True)
class Closed:
    """Why a storage is not read now, in words that follow "It waits: ", and until when."""

    until: datetime
    why: str


def limits_of(storage: Storage, held_bytes: int) -> Limits:
    """Given a storage, and what its repositories take, return its limits."""
    budget = storage.reading_budget_bytes
    if budget is None and storage.kind != Storage.DIRECTORY:
        budget = DEFAULT_TIMES * held_bytes + DEFAULT_MORE
    return Limits(
        storage.name,
        budget or None,
        storage.reading_from,
        storage.reading_until,
        (storage.maintenance_mb_s or 0) * 1_000_000,
    )


def find_closed(limits: Limits, used_bytes: int, now: datetime, *, is_asked: bool = False) -> Closed | None:
    """Given what was read in this month, return why nothing more is read now; None when something may be.
    `is_asked`: a person asked, who may use what is left of the month."""
    name = make_visible(limits.name)
    if limits.budget_bytes is not None and used_bytes >= share(limits.budget_bytes, now, is_asked=is_asked):
        is_month = used_bytes >= limits.budget_bytes
        day = _next_share(limits.budget_bytes, used_bytes, now) if not is_month else _next_month(now)
        of = "the month" if is_month else "today"
        said = (
            f"of {format_bytes(limits.budget_bytes)} a month, what may be read of {name} by {of} is used up"
        )
        return Closed(_in_window(limits, day), said)
    free = _in_window(limits, now)
    if free > now and limits.begins is not None and limits.ends is not None:
        hours = f"{limits.begins:%H:%M} to {limits.ends:%H:%M} UTC"
        return Closed(free, f"maintenance reads {name} from {hours} only")
    return None


def share(budget_bytes: int, now: datetime, *, is_asked: bool = False) -> int:
    """Return how much may have been read by the end of this day, of a budget of its month."""
    now = now.astimezone(UTC)
    days = calendar.monthrange(now.year, now.month)[1]
    return budget_bytes if is_asked else budget_bytes * now.day // days


def _next_share(budget_bytes: int, used_bytes: int, now: datetime) -> datetime:
    """Return the first day of this month on which more may be read. There is one: not all is used."""
    day = _midnight(now)
    while used_bytes >= share(budget_bytes, day):
        day += _DAY
    return day


def _next_month(now: datetime) -> datetime:
    return (_midnight(now).replace(day=28) + 4 * _DAY).replace(day=1)


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _in_window(limits: Limits, moment: datetime) -> datetime:
    """Return the moment, or when the window opens next after it."""
    if limits.begins is None or limits.ends is None:
        return moment
    at = moment.astimezone(UTC).time()
    begins, ends = limits.begins, limits.ends
    is_in = begins <= at < ends if begins < ends else at >= begins or at < ends
    if is_in:
        return moment
    opens = datetime.combine(moment.astimezone(UTC).date(), begins, UTC)
    return opens if opens > moment else opens + _DAY


def month_of(now: datetime) -> date:
    return now.astimezone(UTC).date().replace(day=1)


def count_used(storage: Storage, now: datetime) -> int:
    """Return what was read of a storage in this month. Runs a query."""
    found = ReadingMonth.objects.filter(storage=storage, month=month_of(now))
    return found.values_list("read_bytes", flat=True).first() or 0


def count_held(storage: Storage) -> int:
    """Return what the repositories of a storage take. Runs a query."""
    found = Repository.objects.filter(storage=storage).aggregate(sum=Sum("used_bytes"))["sum"]
    return int(found or 0)


def note_read(storage_id: int, read_bytes: int, now: datetime) -> None:
    """Add to what was read in this month. Others may do so at the same time."""
    with transaction.atomic():
        row, _ = ReadingMonth.objects.get_or_create(storage_id=storage_id, month=month_of(now))
        ReadingMonth.objects.filter(pk=row.pk).update(read_bytes=F("read_bytes") + read_bytes)


def list_closed(now: datetime) -> list[int]:
    """Return the storages of which nothing is read now by schedule. Runs three queries."""
    used = dict(ReadingMonth.objects.filter(month=month_of(now)).values_list("storage", "read_bytes"))
    sums = Repository.objects.order_by().values("storage").annotate(sum=Sum("used_bytes"))
    held = dict(sums.values_list("storage", "sum"))
    return [
        storage.pk
        for storage in Storage.objects.all()
        if find_closed(limits_of(storage, held.get(storage.pk) or 0), used.get(storage.pk, 0), now)
    ]
