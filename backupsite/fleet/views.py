"""Pages that add a device and change it."""

from __future__ import annotations

from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from backupsite.fleet.devices import actor_of, change_device, create_device, has_moved
from backupsite.fleet.forms import DeviceForm
from backupsite.fleet.models import Device
from backupsite.web.visible import make_visible

# Two people gave the same name at the same moment: the form checked, the database decided.
NAME_TAKEN = "Somebody added a device with this name, or this machine, at the same moment."


@require_http_methods(["GET", "HEAD", "POST"])
def device_new(request: HttpRequest) -> HttpResponse:
    form = DeviceForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            device = create_device(actor_of(request), form.cleaned_data["name"], form.reach_value)
            return redirect("device-connect", device.slug)
        except IntegrityError:
            form.add_error("name", NAME_TAKEN)
    has_local = Device.objects.filter(reach=Device.LOCAL).exists()
    context = {"form": form, "has_local": has_local}
    return render(request, "fleet/device_new.html", context, status=422 if form.errors else 200)


def _crumbs(slug: str, name: str) -> list[tuple[str, str]]:
    return [
        ("Devices", reverse("devices")),
        (make_visible(name), reverse("device", args=[slug])),
        ("Settings", ""),
    ]


def _read_typed(device: Device) -> dict[str, str | bool]:
    """Return what a person typed about a device, for its form."""
    jump = device.jump_host
    return {
        "name": device.name,
        "criticality": device.criticality,
        "sleeps": not device.is_always_on,
        "address": device.address,
        "port": str(device.port),
        "user": device.user,
        "has_jump_host": jump is not None,
        "jump_address": jump.address if jump is not None else "",
        "jump_port": str(jump.port) if jump is not None else "22",
        "jump_user": jump.user if jump is not None else "",
    }


@require_http_methods(["GET", "HEAD", "POST"])
def device_edit(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device.objects.select_related("jump_host"), slug=slug)
    typed = _read_typed(device)
    form = DeviceForm(request.POST if request.method == "POST" else None, initial=typed, device=device)
    if request.method == "POST" and form.is_valid():
        moved = has_moved(device, form.reach_value)
        try:
            data = form.cleaned_data
            change_device(
                actor_of(request),
                device,
                data["name"],
                form.reach_value,
                criticality=data["criticality"] or None,
                is_always_on=not data["sleeps"],
            )
        except IntegrityError:
            form.add_error("name", NAME_TAKEN)
        else:
            messages.success(request, "Saved.")
            return redirect("device-connect" if moved else "device", device.slug)
    context = {"form": form, "device": device, "crumbs": _crumbs(slug, str(typed["name"]))}
    return render(request, "fleet/device_edit.html", context, status=422 if form.errors else 200)
