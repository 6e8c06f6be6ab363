"""The list of devices: search, filter and order on the server, all of it in the address."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from backupsite.console.standings import newest_backups, next_dues
from backupsite.fleet.models import Device
from backupsite.recovery.exposure import MISSED, DeviceExposure, Standing, judge_devices
from backupsite.runs.looks import run_status
from backupsite.runs.models import Run
from backupsite.web.status import Status

PAGE_SIZE = 50
NAME, EXPOSURE = "name", "-exposure"
LONGEST_SEARCH = 100
# What "?state=" may say.
GROUPS = {"missed": frozenset(MISSED), **{standing.word: frozenset({standing}) for standing in Standing}}


@dataclass(frozen=True)
class Row:
    device: Device
    exposure: DeviceExposure
    newest_run: Run | None
    next_due: datetime | None

    @property
    def run_status(self) -> Status | None:
        return run_status(self.newest_run) if self.newest_run is not None else None


@dataclass(frozen=True)
class Filter:
    """One chip: a link that keeps the rest of the address."""

    label: str
    count: int
    query: str
    is_current: bool


@require_safe
def devices(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    search = request.GET.get("q", "")[:LONGEST_SEARCH].replace("\0", "")
    sort = NAME if request.GET.get("sort") == NAME else EXPOSURE
    wanted = GROUPS.get(request.GET.get("state", ""))
    found = list(_search(search).values_list("pk", "name"))
    exposures = judge_devices(now, [pk for pk, _ in found])
    ids = _order(found, exposures, sort, wanted)
    page = Paginator(ids, PAGE_SIZE).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "page": page,
        "now": now,
        "rows": _make_rows(list(page.object_list), exposures),
        "filters": _make_filters(request.GET, exposures, wanted),
        "search": search,
        "sort": sort,
        "sort_query": {name: _query(request.GET, sort=name) for name in (NAME, EXPOSURE)},
        "is_filtered": bool(search or wanted is not None),
        "wanted": request.GET.get("state", "") if wanted is not None else "",
    }
    return render(request, "console/devices.html", context)


def _search(text: str) -> Any:
    if not text:
        return Device.objects.all()
    return Device.objects.filter(Q(name__icontains=text) | Q(address__icontains=text))


def _order(
    found: list[tuple[int, str]],
    exposures: dict[int, DeviceExposure],
    sort: str,
    wanted: frozenset[Standing] | None,
) -> list[int]:
    kept = [(pk, name) for pk, name in found if wanted is None or exposures[pk].standing in wanted]
    if sort == NAME:
        return [pk for pk, _ in sorted(kept, key=lambda row: row[1].casefold())]
    return [pk for pk, name in sorted(kept, key=lambda row: (_rank(exposures[row[0]]), row[1].casefold()))]


def _rank(exposure: DeviceExposure) -> tuple[int, float]:
    worst = exposure.worst
    if worst is None or worst.newest_at is None:
        return (-exposure.standing, 0.0)
    return (-exposure.standing, (worst.newest_at + worst.rpo).timestamp())


def _make_rows(ids: list[int], exposures: dict[int, DeviceExposure]) -> list[Row]:
    devices_by_id = Device.objects.in_bulk(ids)
    runs, dues = newest_backups(ids), next_dues(ids)
    return [
        Row(devices_by_id[pk], exposures[pk], runs.get(pk), dues.get(pk)) for pk in ids if pk in devices_by_id
    ]


def _make_filters(
    given: QueryDict, exposures: dict[int, DeviceExposure], wanted: frozenset[Standing] | None
) -> list[Filter]:
    counts = Counter(exposure.standing for exposure in exposures.values())
    filters = [Filter("All", len(exposures), _query(given, state=None), wanted is None)]
    for standing in sorted(Standing, reverse=True):
        is_wanted = wanted is not None and standing in wanted
        if counts[standing] or is_wanted:
            query = _query(given, state=standing.word)
            filters.append(Filter(standing.status.label, counts[standing], query, is_wanted))
    return filters


def _query(given: QueryDict, **changes: str | None) -> str:
    fields = given.copy()
    fields.pop("page", None)
    for name, value in changes.items():
        if value is None:
            fields.pop(name, None)
        else:
            fields[name] = value
    return fields.urlencode()
