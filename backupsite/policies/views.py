"""The list of policies, and removing one. The form itself starts runs and therefore lives in console."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from backupsite.fleet.devices import actor_of
from backupsite.policies.models import Policy
from backupsite.policies.schedule import Schedule
from backupsite.policies.writing import remove_policy
from backupsite.web.visible import make_visible


@require_safe
def policies(request: HttpRequest) -> HttpResponse:
    listed = Policy.objects.annotate(
        device_count=Count("assignments", distinct=True), next_due=Min("assignments__next_due")
    ).prefetch_related("sources")
    rows = [(policy, Schedule.of(policy).sentence()) for policy in listed]
    return render(request, "policies/policies.html", {"rows": rows, "now": timezone.now()})


@require_http_methods(["GET", "HEAD", "POST"])
def policy_delete(request: HttpRequest, slug: str) -> HttpResponse:
    policy = get_object_or_404(Policy, slug=slug)
    if request.method == "POST":
        remove_policy(actor_of(request), policy)
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
