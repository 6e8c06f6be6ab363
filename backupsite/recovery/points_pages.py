"""The lists of restore points: of everything, and of one device."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from backupsite.fleet.models import Device
from backupsite.fleet.tabs import make_tabs
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.sharing import list_points
from backupsite.recovery.words import show_points
from backupsite.web.visible import make_visible

PAGE_SIZE = 50
LONGEST_SEARCH = 200


@require_safe
def points(request: HttpRequest) -> HttpResponse:
    wanted = request.GET.get("device", "")[:LONGEST_SEARCH].replace("\0", "").strip()
    found = RestorePoint.objects.filter(resting_since=None).select_related("device", "policy", "run")
    if wanted:
        is_named = Device.objects.filter(slug=wanted).exists()
        found = (
            found.filter(device__slug=wanted) if is_named else found.filter(device__name__icontains=wanted)
        )
    context = _list_context(request, found)
    context |= {
        "wanted_device": wanted,
        "is_filtered": bool(wanted or context["search"]),
    }
    return render(request, "recovery/points.html", context)


@require_safe
def device_points(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug)
    removed = RestorePoint.objects.filter(device=device, resting_since__isnull=False)
    context = _list_context(request, list_points(device))
    context |= {
        "device": device,
        "tabs": make_tabs(device, "device-points"),
        "is_filtered": bool(context["search"]),
        "resting_count": removed.count(),
        "crumbs": [
            ("Devices", reverse("devices")),
            (make_visible(device.name), device.get_absolute_url()),
            ("Restore points", ""),
        ],
    }
    return render(request, "recovery/device_points.html", context)


def _list_context(request: HttpRequest, found: QuerySet[RestorePoint]) -> dict[str, Any]:
    """Narrow by the searched source and cut into pages. Runs two queries when it is drawn."""
    search = request.GET.get("source", "")[:LONGEST_SEARCH].replace("\0", "")
    if search:
        found = found.filter(source__icontains=search)
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    return {"page": page, "rows": show_points(page.object_list), "search": search}
