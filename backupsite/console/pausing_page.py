"""The page on which a device, a policy or the fleet is paused, always with an end, and goes on again."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from backupsite.fleet.devices import actor_of
from backupsite.fleet.models import Device
from backupsite.policies.models import Pause, Policy, PolicyDevice
from backupsite.policies.pausing import check_end, end_pauses, list_active, pause
from backupsite.recovery.stored import restate
from backupsite.web.visible import make_visible

Of = Device | Policy | None
HOUR, HOURS, MORNING, MONDAY, OTHER = "1h", "4h", "morning", "monday", "other"
LENGTHS = [
    (HOUR, "1 hour"),
    (HOURS, "4 hours"),
    (MORNING, "Until tomorrow 08:00"),
    (MONDAY, "Until Monday 08:00"),
    (OTHER, "Until"),
]


class PauseForm(forms.Form):
    """Until when, and why. Times are those of the console's time zone."""

    length = forms.ChoiceField(choices=LENGTHS, initial=HOURS, label="How long", widget=forms.RadioSelect)
    until = forms.DateTimeField(
        required=False,
        input_formats=["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"],
        label="Date and time",
        help_text="Only for “Until”. For example 2026-12-24 18:00.",
        error_messages={"invalid": "Write a date and a time, like 2026-12-24 18:00."},
    )
    reason = forms.CharField(
        max_length=200, required=False, help_text="For whoever wonders later, for example “moving to rack 7”."
    )

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        now = timezone.now()
        if "length" not in data or "until" not in data:
            return data
        end = data["until"] if data["length"] == OTHER else find_end(data["length"], timezone.localtime(now))
        if end is None:
            self.add_error("until", "Say when the pause ends, like 2026-12-24 18:00.")
            return data
        try:
            check_end(end, now)
        except ValueError as error:
            self.add_error("until", str(error))
        data["end"] = end
        return data


def find_end(length: str, now: datetime) -> datetime | None:
    """Given one of LENGTHS and the local time, return when the pause ends; None for what is typed. Pure."""
    if length in (HOUR, HOURS):
        return now + timedelta(hours=1 if length == HOUR else 4)
    if length == MORNING:
        return _morning(now, 1)
    return _morning(now, 7 - now.weekday()) if length == MONDAY else None


def _morning(now: datetime, days: int) -> datetime:
    day = now.date() + timedelta(days=days)
    return datetime.combine(day, time(8), now.tzinfo)


@require_http_methods(["GET", "HEAD", "POST"])
def pause_new(request: HttpRequest) -> HttpResponse:
    of = _find(request)
    form = PauseForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        now, data = timezone.now(), form.cleaned_data
        with transaction.atomic():
            pause(actor_of(request), of, until=data["end"], reason=data["reason"], now=now)
            restate_paused(of)
        messages.success(request, f"{name_of(of)} is paused until {data['end']:%Y-%m-%d %H:%M}.")
        return redirect(_page_of(of))
    context = {
        "form": form,
        "of": of,
        "name": name_of(of),
        "back": _page_of(of),
        "is_paused": _active_of(of).exists(),
        "field": _field_of(of),
        "crumbs": [*_way_to(of), ("Pause", "")],
    }
    return render(request, "console/pause.html", context, status=422 if form.errors else 200)


@require_POST
def pause_end(request: HttpRequest) -> HttpResponse:
    """What was due meanwhile is made up for by one run each."""
    of = _find(request)
    with transaction.atomic():
        count = end_pauses(actor_of(request), of, now=timezone.now())
        restate_paused(of)
    if count:
        messages.success(request, f"{name_of(of)} goes on. What was due is made up for by one run each.")
    return redirect(_page_of(of))


def restate_paused(of: Of) -> None:
    """Write how the devices stand that a pause begins or ends to hold. Call it in the same transaction."""
    if isinstance(of, Device):
        restate([of.pk])
        return
    rows = PolicyDevice.objects.all() if of is None else PolicyDevice.objects.filter(policy=of)
    restate(list(rows.order_by().values_list("device_id", flat=True).distinct()))


def list_pauses(of: Of = None) -> list[dict[str, Any]]:
    """Return the pauses that concern a device or a policy, for its page; without one those of the fleet.
    Runs one query."""
    concerned = list_active(timezone.now()).select_related("device", "policy")
    fleet = Q(device=None, policy=None)
    if isinstance(of, Device):
        fleet |= Q(device=of)
    elif isinstance(of, Policy):
        fleet |= Q(policy=of)
    concerned = concerned.filter(fleet)
    return [{"pause": each, "field": _field_of(_of(each)), "name": name_of(_of(each))} for each in concerned]


def _active_of(of: Of) -> Any:
    return list_active(timezone.now()).filter(
        device=of if isinstance(of, Device) else None, policy=of if isinstance(of, Policy) else None
    )


def _of(each: Pause) -> Of:
    return each.device or each.policy


def _find(request: HttpRequest) -> Of:
    """Given a request that says "device=…", "policy=…" or "fleet=1", return what is meant."""
    given = request.POST if request.method == "POST" else request.GET
    if given.get("device"):
        return get_object_or_404(Device, slug=given["device"])
    if given.get("policy"):
        return get_object_or_404(Policy, slug=given["policy"])
    if given.get("fleet"):
        return None
    raise Http404


def _field_of(of: Of) -> tuple[str, str]:
    if of is None:
        return "fleet", "1"
    return ("device" if isinstance(of, Device) else "policy"), of.slug


def name_of(of: Of) -> str:
    """Return what is paused, as a sentence begins with it."""
    if of is None:
        return "The fleet"
    return make_visible(of.name) if isinstance(of, Device) else f"The policy {make_visible(of.name)}"


def _way_to(of: Of) -> list[tuple[str, str]]:
    """Return the crumbs above the page."""
    if of is None:
        return [("Fleet", reverse("fleet"))]
    kind = ("Devices", reverse("devices")) if isinstance(of, Device) else ("Policies", reverse("policies"))
    return [kind, (make_visible(of.name), of.get_absolute_url())]


def _page_of(of: Of) -> str:
    return reverse("fleet") if of is None else of.get_absolute_url()
