"""The first page: can everything be restored to a point inside its target?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.db.models import Count, IntegerField, Max, Min, Sum, Value
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from backupsite.console.attention import Item, make_item, rank_items
from backupsite.console.checklist import make_checklist
from backupsite.console.pausing_page import list_pauses
from backupsite.console.recovered import find_recovery
from backupsite.console.standings import (
    QUIET_KINDS,
    UNSUCCESSFUL,
    find_failures,
    list_failing,
    waiting_host_keys,
)
from backupsite.fleet.models import Device
from backupsite.policies.dues import IS_DUE, earliest_due
from backupsite.policies.models import PolicyDevice
from backupsite.recovery.exposure import MISSED, Standing, judge_devices
from backupsite.recovery.stored import count_standings, with_standing
from backupsite.recovery.wal.notes import list_late
from backupsite.repositories.models import Repository, Storage
from backupsite.runs.models import Run
from backupsite.runs.outages import list_open
from backupsite.runs.requests import ACTIVE
from backupsite.runs.states import State
from backupsite.web.charts import Day, Segment, draw_days, draw_legend, draw_segments
from backupsite.web.formatting import format_ago
from backupsite.web.status import Tone
from backupsite.web.visible import make_visible

DAYS = 14
MOST_ITEMS = 8
MOST_RUNNING = 6
MOST_NEXT = 5
TROUBLED = (*MISSED, Standing.UNPROTECTED, Standing.UNDECIDED)


@dataclass(frozen=True)
class Verdict:
    """The answer in one sentence."""

    tone: Tone
    icon: str
    title: str
    text: str


@require_safe
def fleet(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    counts = count_standings(Device.objects.all(), now)
    if not counts:
        return render(request, "console/fleet_empty.html", {"checklist": make_checklist()})
    days = count_days(now)
    template = "console/fleet.html" if request.GET.get("part") != "live" else "console/fleet_live.html"
    context = {
        **_standing_context(counts, now),
        **_attention_context(now),
        **_activity_context(now),
        **_storage_context(),
        "days": draw_days("runs-per-day", days),
        "today": days[-1],
        "day_count": DAYS,
        "now": now,
        "checklist": make_checklist(),
        "recovery": find_recovery(now),
        "active_pauses": list_pauses(),
    }
    return render(request, template, context)


def make_verdict(counts: Counter[Standing], worst: str) -> Verdict:
    """Given how many devices stand how, and words about the worst, return the page's first sentence. Pure."""
    total = counts.total()
    missed = sum(counts[standing] for standing in MISSED)
    unprotected = counts[Standing.UNPROTECTED]
    inside = sum(counts[standing] for standing in Standing if standing.meets_target)
    share = f"{inside} of {total} can be restored to a point inside their target."
    if missed:
        title = _say(missed, "device is outside its target", "devices are outside their target")
        return Verdict("bad", "bad", title, f"{share} {worst}".strip())
    if unprotected:
        title = _say(unprotected, "device is not protected", "devices are not protected")
        return Verdict("warn", "warn", title, share)
    if counts[Standing.UNDECIDED]:
        title = _say(counts[Standing.UNDECIDED], "device has data", "devices have data")
        return Verdict("warn", "warn", f"{title} that nobody decided about", share)
    if not inside:
        return Verdict("off", "paused", "Every policy is paused", share)
    if counts[Standing.PAUSED]:
        title = _say(counts[Standing.PAUSED], "device is paused", "devices are paused")
        return Verdict("warn", "paused", f"{title}, all others are within their target", share)
    return Verdict("good", "good", "Every device is within its target", share)


def _say(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _standing_context(counts: Counter[Standing], now: datetime) -> dict[str, Any]:
    segments = [
        Segment(s.words, counts[s], s.status.tone, f"{reverse('devices')}?state={s.word}")
        for s in Standing
        if counts[s]
    ]
    missed_count = sum(counts[standing] for standing in MISSED)
    return {
        "verdict": make_verdict(counts, _say_longest(now) if counts[Standing.OUTSIDE] else ""),
        "bar": draw_segments("standing", "Devices by standing", segments),
        "legend": draw_legend(segments),
        "device_count": counts.total(),
        "inside_count": sum(counts[standing] for standing in Standing if standing.meets_target),
        "missed_count": missed_count,
        **_review_context(counts),
    }


def _review_context(counts: Counter[Standing]) -> dict[str, Any]:
    """Where the devices are that the verdict is about, and how many."""
    if missed := sum(counts[standing] for standing in MISSED):
        return {"review_url": f"{reverse('devices')}?state=missed", "review_count": missed}
    for standing in (Standing.UNPROTECTED, Standing.UNDECIDED):
        if counts[standing]:
            url = f"{reverse('devices')}?state={standing.word}"
            return {"review_url": url, "review_count": counts[standing]}
    return {"review_url": "", "review_count": 0}


def _say_longest(now: datetime) -> str:
    outside = with_standing(Device.objects.all(), now).filter(standing=Standing.OUTSIDE)
    longest = outside.select_related("exposure").order_by("exposure__newest_at", "name").first()
    if longest is None or longest.exposure.newest_at is None:
        return ""
    ago = format_ago(longest.exposure.newest_at, now)
    return f"Longest exposure: {make_visible(longest.name)}, newest restore point {ago}."


def _attention_context(now: datetime) -> dict[str, Any]:
    keys = waiting_host_keys()
    late = {stream.device_id: stream for stream in list_late(now)}
    ids = _rank_devices(keys, list_failing(now), late, now)
    # The worst first, before the database is asked about each: a whole fleet in trouble is still one page.
    picked = ids[: MOST_ITEMS * 4]
    devices, exposures = Device.objects.in_bulk(picked), judge_devices(now, picked)
    failures = find_failures(now, picked)
    items: list[Item] = rank_items(
        make_item(devices[pk], exposures[pk], failures.get(pk), keys.get(pk), now, late.get(pk))
        for pk in picked
        if pk in devices
    )
    return {"items": items[:MOST_ITEMS], "more_count": max(len(ids) - MOST_ITEMS, 0)}


def _rank_devices(
    keys: dict[int, bool], failing: set[int], late: Collection[int], now: datetime
) -> list[int]:
    """Given which host keys wait, whose backups fail and whose logs are behind, return every device in
    trouble, once, as urgent as `attention` ranks them; the longest without a restore point first."""
    troubled = with_standing(Device.objects.all(), now).filter(standing__in=TROUBLED)
    rows = list(troubled.order_by("-standing", "exposure__newest_at", "name").values_list("pk", "standing"))
    return list(
        dict.fromkeys(
            [
                *(pk for pk, has_changed in keys.items() if has_changed),
                *(pk for pk, standing in rows if standing in MISSED),
                *sorted(failing),
                *sorted(late),
                *keys,
                *(pk for pk, _ in rows),
            ]
        )
    )


def _activity_context(now: datetime) -> dict[str, Any]:
    active = Run.objects.filter(state__in=ACTIVE).exclude(kind__in=QUIET_KINDS).select_related("device")
    due = PolicyDevice.objects.filter(IS_DUE, policy__is_enabled=True)
    upcoming = due.values("policy__name", "policy__slug").annotate(at=earliest_due(), devices=Count("pk"))
    week = Run.objects.filter(freeze_ms__isnull=False, queued_at__gte=now - timedelta(days=7))
    return {
        "running": list(active.filter(state=State.RUNNING)[:MOST_RUNNING]),
        "waiting": active.filter(state=State.QUEUED).aggregate(count=Count("pk"), oldest=Min("queued_at")),
        "outages": list_open(),
        "upcoming": list(upcoming.order_by("at")[:MOST_NEXT]),
        "longest_freeze_ms": week.aggregate(longest=Max("freeze_ms"))["longest"],
    }


def _storage_context() -> dict[str, Any]:
    space = Storage.objects.aggregate(free=Sum("free_bytes"), total=Sum("total_bytes"))
    used = Repository.objects.aggregate(used=Sum("used_bytes"), measured=Max("measured_at"))
    return {"space": space, "used": used}


def count_days(now: datetime) -> list[Day]:
    """Given the server's time, return how the backups of the last days ended, in the reader's time zone.

    One query of as many parts as days: each counts along the index of state and time, where grouping by a
    computed day would read every run.
    """
    today = timezone.localdate(now)
    dates = [today - timedelta(days=number) for number in reversed(range(DAYS))]
    parts = [_count_day(number, day) for number, day in enumerate(dates)]
    by_state: dict[tuple[int, str], int] = {
        (row["place"], row["state"]): row["total"] for row in parts[0].union(*parts[1:], all=True)
    }
    return [
        Day(
            day,
            by_state.get((number, State.SUCCEEDED), 0),
            by_state.get((number, State.WARNINGS), 0),
            sum(by_state.get((number, state), 0) for state in UNSUCCESSFUL),
        )
        for number, day in enumerate(dates)
    ]


def _count_day(place: int, day: date) -> Any:
    midnight = timezone.make_aware(datetime.combine(day, time.min))
    following = timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))
    ended = Run.objects.filter(
        kind=Run.BACKUP,
        state__in=[State.SUCCEEDED, State.WARNINGS, *UNSUCCESSFUL],
        queued_at__gte=midnight,
        queued_at__lt=following,
    )
    counted = ended.order_by().values("state").annotate(total=Count("*"))
    return counted.annotate(place=Value(place, output_field=IntegerField())).values("place", "state", "total")
