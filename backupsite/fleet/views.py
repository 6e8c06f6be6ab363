"""Pages that add a device and change it."""

from __future__ import annotations

from django.contrib import messages
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from backupsite.fleet.devices import actor_of, change_device, create_device
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


@require_http_methods(["GET", "HEAD", "POST"])
def device_edit(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug)
    typed = {"name": device.name, "address": device.address, "port": str(device.port), "user": device.user}
    form = DeviceForm(request.POST if request.method == "POST" else None, initial=typed, device=device)
    old_way = (device.address, device.port)
    if request.method == "POST" and form.is_valid():
        try:
            change_device(actor_of(request), device, form.cleaned_data["name"], form.reach_value)
        except IntegrityError:
            form.add_error("name", NAME_TAKEN)
        else:
            messages.success(request, "Saved.")
            moved = not device.is_local and old_way != (device.address, device.port)
            return redirect("device-connect" if moved else "device", device.slug)
    context = {"form": form, "device": device, "crumbs": _crumbs(slug, typed["name"])}
    return render(request, "fleet/device_edit.html", context, status=422 if form.errors else 200)
