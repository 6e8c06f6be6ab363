"""Pages about what stays and what goes: of a device, of its restore points, and what holds removals."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from backupsite.fleet.devices import actor_of
from backupsite.fleet.models import Device
from backupsite.fleet.tabs import make_tabs
from backupsite.policies.naming import name_source
from backupsite.policies.retention import Copy, find_departures
from backupsite.policies.schedule import find_zone
from backupsite.recovery import retiring, retiring_hand
from backupsite.recovery.models import RestorePoint, RetentionHold
from backupsite.recovery.retiring_history import Judged, Stored
from backupsite.recovery.retiring_holds import lift, open_holds
from backupsite.recovery.words import ShownPoint
from backupsite.web.visible import make_visible

PAGE_SIZE = 100
# How far the simulator looks ahead when nothing is added any more.
DAYS_AHEAD = 400
# The history of one source is looked at day by day: a longer one is not.
MOST_COPIES = 600


@dataclass(frozen=True)
class Line:
    """One copy on the simulator's page. `goes_at`: when it would go if nothing came any more."""

    judged: Judged
    goes_at: datetime | None

    @property
    def shown(self) -> ShownPoint:
        return ShownPoint(self.judged.stored.first)

    @property
    def name(self) -> str:
        return name_source(self.judged.stored.first.source)

    @property
    def reasons(self) -> str:
        return "; ".join(self.judged.reasons)


@require_safe
def device_retention(request: HttpRequest, slug: str) -> HttpResponse:
    """What stays of a device and why, what goes when, what rests."""
    device = get_object_or_404(Device, slug=slug)
    now = timezone.now()
    judged = retiring.judge(device, retiring.read_stored(device), now)
    page = Paginator(judged, PAGE_SIZE).get_page(request.GET.get("page"))
    departures = find_device_departures(judged, now)
    context = {
        "device": device,
        "page": page,
        "lines": [Line(each, departures.get(each.stored.key)) for each in page.object_list],
        "stay_count": sum(each.stays for each in judged),
        "go_count": sum(not each.stays for each in judged),
        "resting": [ShownPoint(point) for point in list_resting(device)],
        "holds": open_holds(device.pk).select_related("device"),
        "tabs": make_tabs(device, "device-points"),
        "crumbs": [
            ("Devices", reverse("devices")),
            (make_visible(device.name), device.get_absolute_url()),
            ("Restore points", reverse("device-points", args=[device.slug])),
            ("What stays", ""),
        ],
    }
    return render(request, "recovery/device_retention.html", context)


def list_resting(device: Device) -> list[RestorePoint]:
    """Return what rests of a device, that which is forgotten first at the top. Runs one query."""
    found = RestorePoint.objects.filter(device=device, resting_since__isnull=False)
    return list(
        found.select_related("device", "run", "policy").order_by("rests_until", "source", "part")[:500]
    )


def find_device_departures(judged: list[Judged], now: datetime) -> dict[object, datetime]:
    """Given the copies of a device, return when each would go if nothing came any more. Runs one query."""
    rules = retiring.read_rules(each.stored for each in judged)
    histories: dict[object, list[Stored]] = defaultdict(list)
    for each in judged:
        if each.stored.first.policy_id in rules:
            histories[each.stored.history].append(each.stored)
    going: dict[object, datetime] = {}
    for copies in histories.values():
        if len(copies) > MOST_COPIES:
            continue
        found, policy = rules[copies[0].first.policy_id or 0]
        listed = [_as_copy(copy, now) for copy in copies]
        zone = find_zone(policy.time_zone)
        going |= {copy.key: at for at, copy in find_departures(listed, found, now, zone, days=DAYS_AHEAD)}
    return going


def _as_copy(stored: Stored, now: datetime) -> Copy:
    is_pinned = any(
        point.is_protected or (point.held_until is not None and point.held_until > now)
        for point in stored.points
    )
    return Copy(stored.key, stored.first.made_at, stored.is_sound, ("pinned",) if is_pinned else ())


@require_safe
def retention(request: HttpRequest) -> HttpResponse:
    """What holds removals, of the fleet and of devices."""
    lasting = RetentionHold.objects.filter(lifted_at=None).select_related("device")
    page = Paginator(lasting, PAGE_SIZE).get_page(request.GET.get("page"))
    context = {"holds": page.object_list, "page": page, "crumbs": [("Held removals", "")]}
    return render(request, "recovery/retention.html", context)


@require_POST
def hold_lift(request: HttpRequest, pk: int) -> HttpResponse:
    held = get_object_or_404(RetentionHold.objects.select_related("device"), pk=pk)
    if lift(actor_of(request), held, timezone.now()):
        messages.success(request, "Removals go on as the policies say.")
    else:
        messages.info(request, "Somebody else lifted it before.")
    if held.device is None:
        return redirect("retention")
    return redirect("device-retention", held.device.slug)


class HoldForm(forms.Form):
    until = forms.DateField(error_messages={"invalid": "Write a day like 2027-01-31."})
    reason = forms.CharField(max_length=200, required=False)


@require_POST
def point_keep(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Protect or hold a copy, end that, or have it back from its rest."""
    point = get_object_or_404(RestorePoint.objects.select_related("device", "policy", "run"), pk=pk)
    actor, now, wanted = actor_of(request), timezone.now(), request.POST.get("then", "")
    if wanted in ("protect", "unprotect"):
        retiring_hand.protect(actor, point, is_wanted=wanted == "protect")
        said = "protected: nobody removes it" if wanted == "protect" else "kept as long as the rules say"
        messages.success(request, f"The restore point is {said}.")
    elif wanted == "release":
        retiring_hand.hold_until(actor, point, None, "", now=now)
        messages.success(request, "The hold is over.")
    elif wanted == "hold":
        _hold(request, point, now)
    elif wanted == "back":
        if retiring_hand.bring_back(actor, point, now=now):
            messages.success(request, "The restore point is back.")
        else:
            messages.error(request, "It is too late: its rest is over.")
    else:
        return HttpResponseBadRequest("Nothing of this kind can be done to a restore point.")
    return redirect(point)


def _hold(request: HttpRequest, point: RestorePoint, now: datetime) -> None:
    form = HoldForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose the day until which it is held.")
        return
    try:
        # To the end of that day.
        day = form.cleaned_data["until"] + timedelta(days=1)
        until = timezone.make_aware(datetime.combine(day, time()))
        retiring_hand.hold_until(actor_of(request), point, until, form.cleaned_data["reason"], now=now)
    except OverflowError:
        messages.error(request, "A hold ends within ten years. What stays for ever is protected.")
        return
    except ValueError as error:
        messages.error(request, str(error))
        return
    messages.success(request, f"Nobody removes it before {form.cleaned_data['until']:%Y-%m-%d} is over.")


class RemoveForm(forms.Form):
    typed = forms.CharField(
        label="Name of the device",
        required=False,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def point_remove(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Ask before a copy is removed: the name of its device is typed."""
    point = get_object_or_404(RestorePoint.objects.select_related("device", "policy", "run"), pk=pk)
    now = timezone.now()
    form = RemoveForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        if form.cleaned_data["typed"] == point.device.name:
            try:
                retiring_hand.remove(actor_of(request), point, now=now)
            except ValueError as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, "The restore point is removed. It can be had back while it rests.")
                return redirect(point)
        else:
            form.add_error("typed", f"Type {make_visible(point.device.name)}, the name of the device.")
    context = {
        "point": point,
        "form": form,
        "shown": ShownPoint(point),
        "count": len(retiring_hand.copy_of(point)),
        "obstacle": retiring_hand.find_obstacle(point, now),
        "rest": point.policy.rest if point.policy is not None else retiring_hand.USUAL_REST,
        "crumbs": [
            ("Restore points", reverse("points")),
            (name_source(point.source, point.part), point.get_absolute_url()),
            ("Remove", ""),
        ],
    }
    return render(request, "recovery/point_remove.html", context, status=422 if form.errors else 200)
