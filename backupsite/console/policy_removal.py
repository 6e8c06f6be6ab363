"""Removing a policy: what it means is shown first."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from backupsite.fleet.devices import actor_of
from backupsite.policies.models import Policy
from backupsite.policies.writing import remove_policy
from backupsite.recovery.stored import restate
from backupsite.web.visible import make_visible


@require_http_methods(["GET", "HEAD", "POST"])
def policy_delete(request: HttpRequest, slug: str) -> HttpResponse:
    policy = get_object_or_404(Policy, slug=slug)
    if request.method == "POST":
        with transaction.atomic():
            device_ids = list(policy.assignments.values_list("device_id", flat=True))
            remove_policy(actor_of(request), policy)
            restate(device_ids)
        messages.success(request, f"The policy {policy.name} was removed. Its restore points stay.")
        return redirect("policies")
    context: dict[str, Any] = {
        "policy": policy,
        "devices": policy.devices.all()[:10],
        "device_count": policy.assignments.count(),
        "crumbs": [
            ("Policies", reverse("policies")),
            (make_visible(policy.name), policy.get_absolute_url()),
            ("Remove", ""),
        ],
    }
    return render(request, "policies/policy_delete.html", context)
