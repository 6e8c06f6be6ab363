"""The list of devices: search, filter and order on the server, all of it in the address."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, Q, QuerySet
from django.db.models.functions import Lower
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from backupsite.console.standings import newest_backups, next_dues
from backupsite.fleet.models import Device, Tag
from backupsite.recovery.exposure import MISSED, DeviceExposure, Standing, judge_devices
from backupsite.recovery.stored import count_standings, with_standing
from backupsite.runs.looks import run_status
from backupsite.runs.models import Run
from backupsite.web.status import Status

PAGE_SIZE = 50
NAME, EXPOSURE = "name", "-exposure"
LONGEST_SEARCH = 100
MOST_TAGS = 20
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
    tag = request.GET.get("tag", "")[:LONGEST_SEARCH].replace("\0", "")
    found = _search(search, tag)
    counts = count_standings(found, now)
    page = _find_page(with_standing(found, now), counts, sort, wanted, request.GET.get("page"))
    context: dict[str, Any] = {
        "page": page,
        "now": now,
        "rows": _make_rows(list(page.object_list), now),
        "filters": _make_filters(request.GET, counts, wanted),
        "search": search,
        "tag": tag,
        "tags": _make_tags(request.GET, tag),
        "sort": sort,
        "sort_query": {name: _query(request.GET, sort=name) for name in (NAME, EXPOSURE)},
        "is_filtered": bool(search or tag or wanted is not None),
        "wanted": request.GET.get("state", "") if wanted is not None else "",
    }
    return render(request, "console/devices.html", context)


def _search(text: str, tag: str) -> QuerySet[Device]:
    found = Device.objects.prefetch_related("tags")
    if tag:
        found = found.filter(tags__name__iexact=tag)
    return found.filter(Q(name__icontains=text) | Q(address__icontains=text)) if text else found


def _make_tags(given: QueryDict, wanted: str) -> list[Filter]:
    """The tags that most devices have, as chips. Runs one query."""
    counted = Tag.objects.annotate(device_count=Count("devices")).order_by("-device_count", "name")
    return [
        Filter(tag.name, tag.device_count, _query(given, tag=None if is_wanted else tag.name), is_wanted)
        for tag in counted[:MOST_TAGS]
        for is_wanted in (tag.name.lower() == wanted.lower(),)
        if tag.device_count or is_wanted
    ]


def _find_page(
    found: Any,
    counts: Counter[Standing],
    sort: str,
    wanted: frozenset[Standing] | None,
    number: str | None,
) -> Page[Device]:
    """Return one page of devices. Runs one query: how many there are is known by their standing."""
    by_name = Lower("name")
    # Inside of one standing by when the target is missed: those without any restore point first.
    worst_first = ("-standing", F("exposure__missed_at").asc(nulls_first=True), by_name)
    ordered = found.order_by(by_name) if sort == NAME else found.order_by(*worst_first)
    pages = Paginator(ordered if wanted is None else ordered.filter(standing__in=wanted), PAGE_SIZE)
    pages.count = sum(total for standing, total in counts.items() if wanted is None or standing in wanted)
    return pages.get_page(number)


def _make_rows(devices: list[Device], now: datetime) -> list[Row]:
    ids = [device.pk for device in devices]
    exposures, runs, dues = judge_devices(now, ids), newest_backups(ids), next_dues(ids)
    return [Row(device, exposures[device.pk], runs.get(device.pk), dues.get(device.pk)) for device in devices]


def _make_filters(
    given: QueryDict, counts: Counter[Standing], wanted: frozenset[Standing] | None
) -> list[Filter]:
    filters = [Filter("All", counts.total(), _query(given, state=None), wanted is None)]
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
