"""The values of policies on a device, each with where it comes from; one of them gets or loses its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from backupsite.fleet.devices import actor_of
from backupsite.fleet.models import Device
from backupsite.policies.document_values import Plain
from backupsite.policies.effective import KEPT, VALUES, Effective, Value, apply, effective
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.override_forms import FORMS, KeptForm, OneForm
from backupsite.policies.overriding import remove_override, set_override
from backupsite.policies.retention import Rules
from backupsite.recovery.retention_outlook import count_going
from backupsite.recovery.stored import lock, restate
from backupsite.web.visible import make_visible


@dataclass(frozen=True)
class Held:
    """The values of one policy on a device."""

    policy: Policy
    values: tuple[Effective, ...]

    @property
    def own_count(self) -> int:
        return sum(each.is_own for each in self.values)


def list_held(device: Device) -> list[Held]:
    """Given a device, return what holds there of each of its policies. Runs two queries."""
    rows = device.assignments.select_related("policy").prefetch_related("overrides").order_by("policy__name")
    return [Held(row.policy, effective(row.policy, row.overrides.all())) for row in rows]


@require_http_methods(["GET", "HEAD", "POST"])
def override(request: HttpRequest, slug: str, policy: str, name: str) -> HttpResponse:
    row = get_object_or_404(
        PolicyDevice.objects.select_related("device", "policy"), device__slug=slug, policy__slug=policy
    )
    if name not in VALUES:
        raise Http404
    value = VALUES[name]
    stored = list(row.overrides.all())
    held = apply(row.policy, {each.field: each.value for each in stored})
    data = request.POST if request.method == "POST" else None
    form = FORMS[name](data, policy=row.policy, initial=FORMS[name].begin(held))
    going, is_removal = 0, "remove" in request.POST
    if request.method == "POST" and (is_removal or form.is_valid()):
        going = _count_going(row, value, None if is_removal else form.stored)
        if not going or request.POST.get("agreed") == str(going):
            return _remove(request, row, value) if is_removal else _save(request, row, value, form)
    shown = next(each for each in effective(row.policy, stored) if each.value is value)
    context = {**_context(row, form, shown), "going": going, "is_removal": is_removal}
    is_refused = request.method == "POST"
    return render(request, "console/override.html", context, status=422 if is_refused else 200)


def _count_going(row: PolicyDevice, value: Value, stored: Plain | None) -> int:
    """Return how many restore points would go by what is to be stored, None: by the policy again."""
    if value.name != KEPT:
        return 0
    wanted = row.policy if stored is None else apply(row.policy, {KEPT: stored})
    return count_going(row.policy, Rules.of(wanted), row.device, timezone.now(), for_device=True)


def _context(row: PolicyDevice, form: OneForm | KeptForm, shown: Effective) -> dict[str, Any]:
    device = row.device
    return {
        "device": device,
        "policy": row.policy,
        "form": form,
        "shown": shown,
        "crumbs": [
            ("Devices", reverse("devices")),
            (make_visible(device.name), device.get_absolute_url()),
            (shown.value.label, ""),
        ],
    }


def _save(request: HttpRequest, row: PolicyDevice, value: Value, form: OneForm | KeptForm) -> HttpResponse:
    with transaction.atomic():
        lock([row.device_id])
        changed = set_override(actor_of(request), row, value, form.stored, timezone.now())
        restate([row.device_id])
    if changed:
        messages.success(request, f"{value.label} is this device's own now.")
    return redirect(row.device)


def _remove(request: HttpRequest, row: PolicyDevice, value: Value) -> HttpResponse:
    with transaction.atomic():
        lock([row.device_id])
        changed = remove_override(actor_of(request), row, value, timezone.now())
        restate([row.device_id])
    if changed:
        messages.success(request, f"{value.label} is that of the policy again.")
    return redirect(row.device)
