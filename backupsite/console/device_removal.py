"""Removing a device: what it means is listed first, and its name must be typed."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from backupsite.fleet.devices import DeviceInUse, actor_of, remove_device
from backupsite.fleet.models import Device
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.wal_models import WalStream
from backupsite.repositories.models import Repository
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE
from backupsite.web.visible import make_visible


@require_http_methods(["GET", "HEAD", "POST"])
def device_delete(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug)
    point_count = RestorePoint.objects.filter(device=device).count()
    has_repository = Repository.objects.filter(device=device).exists()
    is_busy = Run.objects.filter(device=device, state__in=ACTIVE).exists()
    slots = list(WalStream.objects.filter(device=device, has_slot=True).values_list("slot", flat=True))
    may_go = not (point_count or has_repository or is_busy or slots)
    error = ""
    if request.method == "POST":
        error = _remove(request, device, may_go)
        if not error:
            messages.success(request, f"{device.name} was removed.")
            return redirect("devices")
    context = {
        "device": device,
        "crumbs": [
            ("Devices", reverse("devices")),
            (make_visible(device.name), device.get_absolute_url()),
            ("Remove", ""),
        ],
        "point_count": point_count,
        "has_repository": has_repository,
        "is_busy": is_busy,
        "slots": slots,
        "may_go": may_go,
        "run_count": Run.objects.filter(device=device).count(),
        "policies": device.policies.all(),
        "error": error,
        "typed": request.POST.get("name", ""),
    }
    return render(request, "console/device_delete.html", context, status=422 if error else 200)


def _remove(request: HttpRequest, device: Device, may_go: bool) -> str:
    """Remove the device and return "", or the reason why it stays."""
    if not may_go:
        return "Nothing was removed: see why above."
    if request.POST.get("name", "").strip() != device.name:
        return f"Type {device.name} exactly as it is written here."
    try:
        remove_device(actor_of(request), device)
    except DeviceInUse:
        return "Nothing was removed: a backup of this device began meanwhile."
    return ""
