"""Pages that add a device, change it, and take it out of service and back.

With its tags a device comes under policies and leaves them, so they stand above both."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from backupsite.fleet.devices import Actor, actor_of, change_device, create_device, has_moved, retire_device
from backupsite.fleet.forms import DeviceForm
from backupsite.fleet.models import Device
from backupsite.fleet.tags import set_tags
from backupsite.policies.selecting import refresh_devices
from backupsite.recovery.stored import lock, restate
from backupsite.repositories.default_storage import find_default
from backupsite.web.visible import make_visible

# Two people gave the same name at the same moment: the form checked, the database decided.
NAME_TAKEN = "Somebody added a device with this name, or this machine, at the same moment."


@require_http_methods(["GET", "HEAD", "POST"])
def device_new(request: HttpRequest) -> HttpResponse:
    form = DeviceForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                device = create_device(actor_of(request), form.cleaned_data["name"], form.reach_value)
                give_tags(actor_of(request), device, form.cleaned_data["tags"])
            return redirect("device-connect", device.slug)
        except IntegrityError:
            form.add_error("name", NAME_TAKEN)
    has_local = Device.objects.filter(reach=Device.LOCAL).exists()
    context = {"form": form, "has_local": has_local, "default_storage": find_default()}
    return render(request, "fleet/device_new.html", context, status=422 if form.errors else 200)


def give_tags(actor: Actor, device: Device, names: Collection[str]) -> None:
    """Give a device exactly these tags; it comes under the policies that select them and leaves the others.
    Call it in a transaction."""
    lock([device.pk])
    if set_tags(actor, device, names):
        restate([device.pk, *refresh_devices(timezone.now())])


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
        "tags": ", ".join(device.tags.values_list("name", flat=True)),
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
            with transaction.atomic():
                change_device(
                    actor_of(request),
                    device,
                    data["name"],
                    form.reach_value,
                    criticality=data["criticality"] or None,
                    is_always_on=not data["sleeps"],
                )
                give_tags(actor_of(request), device, data["tags"])
        except IntegrityError:
            form.add_error("name", NAME_TAKEN)
        else:
            messages.success(request, "Saved.")
            return redirect("device-connect" if moved else "device", device.slug)
    context = {"form": form, "device": device, "crumbs": _crumbs(slug, str(typed["name"]))}
    return render(request, "fleet/device_edit.html", context, status=422 if form.errors else 200)


@require_POST
def device_retire(request: HttpRequest, slug: str) -> HttpResponse:
    """Take a device out of service, or back into it. Its restore points and runs stay."""
    device = get_object_or_404(Device, slug=slug)
    is_retired = request.POST.get("retired") == "yes"
    now = timezone.now()
    with transaction.atomic():
        lock([device.pk])
        if retire_device(actor_of(request), device, is_retired=is_retired, now=now):
            restate([device.pk, *refresh_devices(now)])
    name = make_visible(device.name)
    if is_retired:
        messages.success(
            request, f"{name} is out of service: no run starts any more. Its restore points stay."
        )
    else:
        messages.success(request, f"{name} is in service again.")
    return redirect("device", device.slug)
