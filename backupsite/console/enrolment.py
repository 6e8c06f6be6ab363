"""The way of a new device into the fleet: a line to paste, a fingerprint to compare, ticks."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from backupsite.accounts import audit
from backupsite.console.host_keys import keys_on_the_way, scan_context
from backupsite.console.pasting import key_context
from backupsite.console.ticks import Tick, make_ticks
from backupsite.fleet.devices import actor_of, approve_host_key, refuse_host_key
from backupsite.fleet.models import Device, HostKey
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE, request_run
from backupsite.runs.states import State
from backupsite.web.visible import make_visible


@require_safe
def device_connect(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device.objects.select_related("ssh_key", "jump_host"), slug=slug)
    part = request.GET.get("part")
    if part == "ticks":
        return render(request, "console/connect_ticks.html", ticks_context(device))
    if part == "scan":
        return render(request, "console/connect_scan.html", scan_context(device))
    context = {"device": device, "crumbs": _crumbs(device), **ticks_context(device)}
    if not device.is_local:
        context |= {**scan_context(device), **key_context(device)}
    return render(request, "console/device_connect.html", context)


@require_POST
def device_scan(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug, reach=Device.SSH)
    request_run(Run.SCAN, device, request={}, requested_by=request.user.get_username())
    audit.record(request, "device.scan", device.name)
    return redirect("device-connect", slug)


@require_POST
def device_check(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug)
    request_run(Run.PROBE, device, request={}, requested_by=request.user.get_username())
    audit.record(request, "device.check", device.name)
    return redirect("device-connect", slug)


@require_POST
def device_hostkey(request: HttpRequest, slug: str) -> HttpResponse:
    """Approve or refuse the key that was shown. Approving starts the first check by itself."""
    device = get_object_or_404(Device, slug=slug, reach=Device.SSH)
    # "approve:12": the buttons lie in a live region and the form outside of it, so one field says both.
    decision, _, key_id = request.POST.get("decision", "").partition(":")
    decide = {"approve": approve_host_key, "refuse": refuse_host_key}.get(decision)
    if decide is None:
        return HttpResponseBadRequest("decision must be approve or refuse")
    key = get_object_or_404(keys_on_the_way(device), pk=_read_id(key_id))
    if not decide(actor_of(request), key):
        messages.warning(request, "Somebody decided about this key already. Look at it as it is now.")
    elif decision == "approve":
        # Behind an approved jump host the device itself may not have been asked yet.
        kind = Run.PROBE if _has_approved_key(device) else Run.SCAN
        request_run(kind, device, request={}, requested_by=request.user.get_username())
    return redirect("device-connect", slug)


def _has_approved_key(device: Device) -> bool:
    return device.host_keys.filter(state=HostKey.APPROVED).exists()


def _read_id(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def ticks_context(device: Device) -> dict[str, Any]:
    """Return the newest check of a device and its ticks. Runs two queries."""
    probe = Run.objects.filter(device=device, kind=Run.PROBE).prefetch_related("checks").first()
    ticks: list[Tick] = make_ticks(probe)
    is_checking = probe is not None and probe.state in ACTIVE
    return {
        "device": device,
        "probe": probe,
        "ticks": ticks,
        "is_checking": is_checking,
        "bad_count": sum(tick.status.tone == "bad" for tick in ticks),
        "probe_failed": probe is not None and not is_checking and not State(probe.state).is_good,
        "topic": f"device:{device.uuid}",
        "is_ready": probe is not None and State(probe.state).is_good,
    }


def _crumbs(device: Device) -> list[tuple[str, str]]:
    return [
        ("Devices", reverse("devices")),
        (make_visible(device.name), device.get_absolute_url()),
        ("Connect", ""),
    ]
