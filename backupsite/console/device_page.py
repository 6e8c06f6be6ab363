"""The page of one device: how it stands, what can be restored, what is protected, what ran."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents.facts import DeviceFacts
from backupsite.console.coverage import find_gaps
from backupsite.console.coverage_sizes import draw_coverage, measure_coverage
from backupsite.console.discovery import (
    FILES_ONLY,
    decided_paths,
    find_instances,
    find_open_data,
    list_decided,
)
from backupsite.console.overrides_page import list_held
from backupsite.console.pausing_page import list_pauses
from backupsite.console.policy_targets import read_target
from backupsite.console.standings import (
    QUIET_KINDS,
    find_failures,
    next_dues,
    waiting_host_keys,
)
from backupsite.fleet.models import Device, HostKey
from backupsite.fleet.tabs import make_tabs
from backupsite.policies.found import say_undecided
from backupsite.policies.models import Policy, Source
from backupsite.policies.naming import name_source
from backupsite.policies.windows import is_taken_hot
from backupsite.recovery.drill_words import find_last_drill
from backupsite.recovery.exposure import MISSED, SourceExposure, judge_device, list_paused, list_sources
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.wal.card import list_cards, list_offers
from backupsite.recovery.words import ShownPoint
from backupsite.repositories.models import Repository
from backupsite.runs.looks import run_status
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE
from backupsite.web.charts import Point, draw_timeline
from backupsite.web.formatting import format_bytes, format_moment
from backupsite.web.status import Status
from backupsite.web.visible import make_visible

RECENT_RUNS = 8
PARTS = {"live": "console/device_live.html", "head": "console/device_head.html"}
HOT_MODE = Status("Hot", "hot", "hot")
COLD_MODE = Status("Cold", "warn", "cold")
# The timeline merges near points; more than these say nothing more on one screen.
MOST_POINTS = 500


@dataclass(frozen=True)
class Protected:
    """One required source: its exposure, whose policy it is, and the newest restore points of it: one, or one
    for each stream."""

    exposure: SourceExposure
    policy: Policy
    points: tuple[ShownPoint, ...]

    @property
    def name(self) -> str:
        return name_source(self.exposure.key)

    @property
    def mode(self) -> Status:
        return COLD_MODE if self.exposure.is_cold else HOT_MODE

    @property
    def point(self) -> ShownPoint | None:
        return self.points[0] if self.points else None

    @property
    def maker(self) -> Device | None:
        """The other device that made it, of a source that they share."""
        if self.point is None or self.exposure.made_on == self.exposure.device_id:
            return None
        return self.point.point.device

    @property
    def size_bytes(self) -> int:
        return sum(each.point.size_bytes for each in self.points)


@require_safe
def device(request: HttpRequest, slug: str) -> HttpResponse:
    shown = get_object_or_404(Device.objects.select_related("jump_host"), slug=slug)
    now = timezone.now()
    part = PARTS.get(request.GET.get("part", ""))
    context = {"device": shown, **_live_context(shown, now)}
    if part is not None:
        return render(request, part, context)
    context |= {
        "tabs": make_tabs(shown, "device"),
        "active_pauses": list_pauses(shown),
        "held": list_held(shown),
        "crumbs": [("Devices", reverse("devices")), (make_visible(shown.name), "")],
    }
    return render(request, "console/device.html", context)


def _live_context(device: Device, now: datetime) -> dict[str, Any]:
    sources = list_sources(now, [device.pk])
    is_paused = device.pk in list_paused([device.pk])
    target, decided = read_target(device), list_decided(device)
    facts, protected = target.facts, _list_protected(sources)
    open_data = find_open_data(device, decided, facts)
    exposure = judge_device(
        sources, now, is_paused=is_paused, undecided=say_undecided([each.found for each in open_data])
    )
    found = find_instances(device, target, decided, sources)
    listed = (
        Run.objects.filter(device=device)
        .exclude(kind__in=QUIET_KINDS)
        .select_related("policy")
        .annotate(took=F("ended_at") - F("started_at"))
    )
    runs = list(listed[:RECENT_RUNS])
    left = exposure.worst.left(now) if exposure.worst is not None else timedelta(0)
    return {
        "now": now,
        "exposure": exposure,
        "spare": left,
        "overdue": -left,
        "failure": find_failures(now, [device.pk]).get(device.pk),
        "is_missed": exposure.standing in MISSED,
        "protected": protected,
        "facts": facts,
        "open_data": open_data,
        "gaps": find_gaps(facts.mounts, decided_paths(decided, facts)) if facts is not None else [],
        "found": found,
        "undecided": [each for each in found if not each.is_decided],
        "files_only": [each for each in found if each.status == FILES_ONLY],
        "has_hot": any(is_taken_hot(source) for source in decided),
        "has_cold": any(source.mode in (Source.COLD, Source.BOTH) for source in decided),
        "out": [source for source in decided if source.mode == Source.OUT and source.policy.is_enabled],
        "runs": [(run, run_status(run)) for run in runs],
        "active": [run for run in runs if run.state in ACTIVE],
        "next_due": next_dues([device.pk]).get(device.pk),
        "repository": Repository.objects.filter(device=device).select_related("second_copy__storage").first(),
        "longest_freeze_ms": _longest_freeze(device, now),
        "last_drill": find_last_drill(device),
        **_coverage_context(facts, decided, protected),
        **_logs_context(device, facts, decided, now),
        **_points_context(device, now),
        **_key_context(device),
    }


def _coverage_context(
    facts: DeviceFacts | None, decided: list[Source], protected: list[Protected]
) -> dict[str, Any]:
    if facts is None:
        return {}
    stored = {(each.exposure.policy_id, each.exposure.key): each.size_bytes for each in protected}
    rows = measure_coverage(facts, [each for each in decided if each.policy.is_enabled], stored)
    return {"coverage": rows, "coverage_chart": draw_coverage(rows)}


def _logs_context(
    device: Device, facts: DeviceFacts | None, decided: list[Source], now: datetime
) -> dict[str, Any]:
    logs = list_cards(device, now)
    instances = facts.instances if facts is not None else ()
    return {"logs": logs, "log_offers": list_offers(device, instances, logs, decided)}


def _key_context(device: Device) -> dict[str, Any]:
    if device.is_local:
        return {"key_is_approved": True, "key_has_changed": False}
    return {
        "key_is_approved": device.host_keys.filter(state=HostKey.APPROVED).exists(),
        "key_has_changed": waiting_host_keys([device.pk]).get(device.pk, False),
    }


def _list_protected(sources: list[SourceExposure]) -> list[Protected]:
    policies = Policy.objects.in_bulk({source.policy_id for source in sources})
    wanted = [source.newest_at for source in sources if source.newest_at is not None]
    makers = {source.made_on for source in sources} - {None}
    points: dict[tuple[int | None, int | None, str, datetime | None], list[ShownPoint]] = {}
    made = RestorePoint.objects.filter(device__in=makers, made_at__in=wanted).select_related("device")
    for point in made:
        key = (point.device_id, point.policy_id, point.source, point.made_at)
        points.setdefault(key, []).append(ShownPoint(point))
    return [
        Protected(
            source,
            policies[source.policy_id],
            tuple(points.get((source.made_on, source.policy_id, source.key, source.newest_at), ())),
        )
        for source in sorted(sources, key=lambda source: (source.key, source.policy_id, source.is_cold))
    ]


def _longest_freeze(device: Device, now: datetime) -> float | None:
    week = Run.objects.filter(device=device, freeze_ms__isnull=False, queued_at__gte=now - timedelta(days=7))
    longest: float | None = week.aggregate(longest=Max("freeze_ms"))["longest"]
    return longest


def _points_context(device: Device, now: datetime) -> dict[str, Any]:
    kept = RestorePoint.objects.filter(device=device, resting_since=None)
    points = list(kept.order_by("-made_at")[:MOST_POINTS])
    return {
        "point_count": len(points),
        "has_more_points": len(points) == MOST_POINTS,
        "timeline": draw_timeline("restore-points", [make_mark(ShownPoint(each)) for each in points], now),
    }


def make_mark(shown: ShownPoint) -> Point:
    """Given a restore point, return its mark on the timeline: how and how well it was made, how much it is,
    how much of that was new, what a drill said of it. Pure but for the zone."""
    point = shown.point
    words = [
        f"{shown.name}: {shown.method}",
        shown.consistency.label.lower(),
        f"{format_bytes(point.size_bytes)}, {format_bytes(point.stored_bytes)} of it new",
    ]
    if not point.is_complete:
        words.append("not complete")
    if shown.drill is not None and point.verified_at is not None:
        words.append(f"{shown.drill.label.lower()} {format_moment(timezone.localtime(point.verified_at))}")
    is_refuted = point.drill_state == RestorePoint.REFUTED
    return Point(
        timezone.localtime(point.made_at),
        point.get_absolute_url(),
        lane=name_source(point.source),
        tone="bad" if is_refuted else "good" if point.is_complete else "warn",
        words=", ".join(words),
        has_ring=point.drill_state == RestorePoint.PROVEN,
    )
