"""The pages of drills: of the fleet, of one device, the evidence of one; and the buttons."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Exists, OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from backupsite.accounts import audit
from backupsite.fleet.models import Device
from backupsite.fleet.tabs import make_tabs
from backupsite.recovery.drill_machines import MACHINE_WORDS, find_machine, list_machines, usual_machine
from backupsite.recovery.drill_matrix import DAYS, list_days, read_matrix
from backupsite.recovery.drill_models import Drill, DrillRule
from backupsite.recovery.drill_trend import draw_trend, find_slowest
from backupsite.recovery.drill_words import ShownDrill
from backupsite.recovery.drills import ask_drill
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.origins import COPY, FIRST
from backupsite.recovery.words import show_points
from backupsite.runs.looks import run_status
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE
from backupsite.web.visible import make_visible

DEVICES_A_PAGE, DRILLS_A_PAGE = 40, 25
MOST_NEVER = 12
# The slowest of each day are looked for among so many.
MOST_MEASURED = 5000
# One click drills this many sources of a device at most.
MOST_AT_ONCE = 50


@require_safe
def drills(request: HttpRequest) -> HttpResponse:
    now = timezone.now()
    with_points = Device.objects.filter(Exists(RestorePoint.objects.filter(device=OuterRef("pk"))))
    never = with_points.exclude(Exists(Drill.objects.whole().filter(device=OuterRef("pk"))))
    devices = Paginator(with_points, DEVICES_A_PAGE).get_page(request.GET.get("devices"))
    context = _list_context(request, now)
    context |= {
        "devices": devices,
        "rows": read_matrix(list(devices.object_list), now),
        "days": list_days(now),
        "never": list(never[:MOST_NEVER]),
        "never_count": never.count(),
        "rules": list(
            DrillRule.objects.exclude(rhythm=DrillRule.NEVER, is_sampled=False)
            .select_related("policy", "machine")
            .order_by("policy__name")
        ),
    }
    return render(request, "recovery/drills.html", context)


@require_safe
def device_drills(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug)
    now = timezone.now()
    context = _list_context(request, now, device)
    context |= {
        "device": device,
        "tabs": make_tabs(device, "device-drills"),
        "machines": list_machines(),
        "machine_words": MACHINE_WORDS,
        "has_points": RestorePoint.objects.filter(device=device).exists(),
        "policies": device.policies.all(),
        "crumbs": [
            ("Devices", reverse("devices")),
            (make_visible(device.name), device.get_absolute_url()),
            ("Drills", ""),
        ],
    }
    return render(request, "recovery/device_drills.html", context)


@require_safe
def drill(request: HttpRequest, pk: int) -> HttpResponse:
    found = Drill.objects.select_related("device", "policy", "run").prefetch_related("points")
    shown = get_object_or_404(found, pk=pk)
    context = {
        "drill": shown,
        "shown": ShownDrill(shown),
        "points": show_points(shown.points.all()),
        "crumbs": [
            ("Restore drills", reverse("drills")),
            (make_visible(shown.device.name), reverse("device-drills", args=[shown.device.slug])),
            (f"#{shown.pk}", ""),
        ],
    }
    return render(request, "recovery/drill.html", context)


@require_POST
def point_drill(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    point = get_object_or_404(RestorePoint.objects.select_related("device", "policy"), pk=pk)
    origin = COPY if request.POST.get("origin") == COPY else FIRST
    (run,) = _start(request, [point], [usual_machine(point)], origin)
    return redirect(run)


@require_POST
def device_drill(request: HttpRequest, slug: str) -> HttpResponse:
    """Drill the newest restore point of each source of a device, on the machine that was picked or, without
    one, where the rules of its policies say."""
    device = get_object_or_404(Device, slug=slug)
    points = newest_points(device)
    if not points:
        messages.warning(request, "There is no restore point yet, so there is nothing to drill.")
        return redirect(device)
    try:
        machines = [
            find_machine(request.POST["machine"]) if "machine" in request.POST else usual_machine(point)
            for point in points
        ]
    except ValidationError as error:
        messages.error(request, error.message)
        return redirect("device-drills", device.slug)
    started = _start(request, points, machines)
    if len(started) == 1:
        return redirect(started[0])
    messages.success(request, f"{len(started)} drills wait for their turn, one for each source.")
    return redirect("device-drills", device.slug)


def newest_points(device: Device) -> list[RestorePoint]:
    """Given a device, return a restore point of the newest backup of each of its sources. Runs one query."""
    same = RestorePoint.objects.filter(
        device=OuterRef("device"), source=OuterRef("source"), resting_since=None
    )
    newest = Subquery(same.order_by("-made_at").values("made_at")[:1])
    found = RestorePoint.objects.filter(device=device, made_at=newest).select_related("device", "policy")
    by_source: dict[str, RestorePoint] = {}
    for point in found.order_by("source", "part"):
        by_source.setdefault(point.source, point)
    return list(by_source.values())[:MOST_AT_ONCE]


def _start(
    request: HttpRequest, points: list[RestorePoint], machines: list[Device | None], origin: str = FIRST
) -> list[Run]:
    name = request.user.get_username()
    started = []
    with transaction.atomic():
        for point, machine in zip(points, machines, strict=True):
            run = ask_drill(point, machine, requested_by=name, origin=origin)
            detail: dict[str, str | int] = {"run": run.number, "source": point.source}
            if origin != FIRST:
                detail["from"] = origin
            if machine is not None:
                detail["machine"] = machine.name
            audit.record(request, "device.drill", point.device.name, detail)
            started.append(run)
    return started


def _list_context(request: HttpRequest, now: datetime, device: Device | None = None) -> dict[str, Any]:
    """Return the list of drills, what is being drilled, and the trend of their times. Runs four queries."""
    found = Drill.objects.telling()
    if device is not None:
        found = found.filter(device=device)
    page = Paginator(found.select_related("device", "run"), DRILLS_A_PAGE).get_page(request.GET.get("page"))
    recent = found.filter(at__gte=now - timedelta(days=DAYS), result=Drill.PASSED, is_sample=False)
    measured = list(recent.only("at", "result", "total_s", "rto")[:MOST_MEASURED])
    targets = {drill.rto for drill in measured}
    rto = targets.pop() if len(targets) == 1 else None
    days = list_days(now)
    slowest = [each for each in find_slowest(measured) if each.day in days]
    active = Run.objects.filter(kind=Run.DRILL, state__in=ACTIVE).select_related("device")
    if device is not None:
        active = active.filter(device=device)
    return {
        "page": page,
        "drills": [ShownDrill(each) for each in page.object_list],
        "trend": draw_trend("drill-trend", slowest, days, rto) if slowest else "",
        "active": [(run, run_status(run)) for run in active.order_by("number")[:10]],
    }
