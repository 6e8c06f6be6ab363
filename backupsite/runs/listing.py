"""Lists of runs: filters in the address, one page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import QueryDict
from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.runs.looks import LOOKS, kind_icon, run_status
from backupsite.runs.models import Run
from backupsite.runs.states import State
from backupsite.runs.waiting import Wait, explain
from backupsite.web.status import Status

PAGE_SIZE = 50
# Made by looking around, or all the time: shown only when they are asked for.
QUIET_KINDS = (Run.BROWSE, Run.DOWNLOAD, Run.FORECAST, Run.LOG, Run.SAMPLE, Run.CHECK, Run.COPY)
FEW = 1000
LOUD_KINDS = [kind for kind, _ in Run.KINDS if kind not in QUIET_KINDS]
ACTIVE, TROUBLE = "active", "trouble"
STATE_GROUPS: dict[str, tuple[str, tuple[State, ...]]] = {
    ACTIVE: ("Waiting or running", (State.QUEUED, State.RUNNING)),
    TROUBLE: ("Not successful", (State.FAILED, State.ERRORED, State.LOST)),
    **{str(state): (state.label, (state,)) for state in LOOKS},
}


@dataclass(frozen=True)
class Row:
    """One line of the list."""

    run: Run
    wait: Wait | None = None

    @property
    def status(self) -> Status:
        return run_status(self.run)

    @property
    def icon(self) -> str:
        return kind_icon(self.run)

    @property
    def took(self) -> timedelta | None:
        if self.run.started_at is None or self.run.ended_at is None:
            return None
        return self.run.ended_at - self.run.started_at

    @property
    def stored_bytes(self) -> int | None:
        """Only a backup that started stores something."""
        has_stored = self.run.kind == Run.BACKUP and self.run.started_at is not None
        return self.run.stored_bytes if has_stored else None


@dataclass(frozen=True)
class Chip:
    """One filter: a link that keeps the rest of the address."""

    label: str
    query: str
    is_current: bool


@dataclass(frozen=True)
class Filters:
    """What the address asks for. A word that is not known asks for nothing."""

    kind: str = ""
    state: str = ""
    device: str = ""

    @classmethod
    def of(cls, given: QueryDict) -> Filters:
        """Read them from an address."""
        kind, state = given.get("kind", ""), given.get("state", "")
        return cls(
            kind if kind in dict(Run.KINDS) else "",
            state if state in STATE_GROUPS else "",
            given.get("device", "")[:80].replace("\0", ""),
        )

    @property
    def is_set(self) -> bool:
        return bool(self.kind or self.state or self.device)


def find_runs(filters: Filters, device: Device | None = None) -> QuerySet[Run]:
    """Given filters, and a device when only its runs are wanted, return them, newest first."""
    found = Run.objects.select_related("device", "policy")
    found = found.filter(kind=filters.kind) if filters.kind else found.exclude(kind__in=QUIET_KINDS)
    return _narrow(found, filters, device)


def count_runs(filters: Filters, device: Device | None = None) -> int:
    """Return how many runs `find_runs` finds. Names every kind and state: so an index alone can count."""
    kinds = [filters.kind] if filters.kind else LOUD_KINDS
    return _narrow(Run.objects.filter(kind__in=kinds, state__in=State.values), filters, device).count()


def _narrow(found: QuerySet[Run], filters: Filters, device: Device | None) -> QuerySet[Run]:
    if filters.state:
        found = found.filter(state__in=STATE_GROUPS[filters.state][1])
    if device is not None:
        return found.filter(device=device)
    return found.filter(device__slug=filters.device) if filters.device else found


def read_page(filters: Filters, device: Device | None, number: str | None) -> tuple[Page[Run], list[Row]]:
    """Given what is wanted and a page's number as typed, return the page and its rows. Runs two queries,
    some more when one of them waits."""
    found, count = find_runs(filters, device), count_runs(filters, device)
    if count <= FEW:
        # From the index that counted them. More than these are met soon enough on the way back from the
        # newest run, and would have to be sorted.
        found = found.filter(state__in=State.values)
    pages = Paginator(found, PAGE_SIZE)
    pages.count = count
    page = pages.get_page(number)
    waits = explain(page.object_list, timezone.now())
    return page, [Row(run, waits.get(run.pk)) for run in page.object_list]


def make_chips(given: QueryDict, filters: Filters) -> tuple[list[Chip], list[Chip]]:
    """Given the address, return the filters by kind and by state."""
    kinds = [Chip("All kinds", change_query(given, kind=""), not filters.kind)]
    kinds += [
        Chip(words, change_query(given, kind=kind), kind == filters.kind)
        for kind, words in Run.KINDS
        if kind not in QUIET_KINDS or kind == filters.kind
    ]
    shown = ("", ACTIVE, TROUBLE, State.WARNINGS, State.SUCCEEDED, State.CANCELLED)
    words_of = {"": "Any result"} | {name: words for name, (words, _) in STATE_GROUPS.items()}
    wanted = shown if filters.state in shown else (*shown, filters.state)
    states = [Chip(words_of[s], change_query(given, state=s), s == filters.state) for s in wanted]
    return kinds, states


def change_query(given: QueryDict, **changes: str) -> str:
    """Given an address, return its query with some words changed, from page 1 on; "" takes one out."""
    fields = given.copy()
    for name in ("page", *changes):
        fields.pop(name, None)
    for name, value in changes.items():
        if value:
            fields[name] = value
    return fields.urlencode()
