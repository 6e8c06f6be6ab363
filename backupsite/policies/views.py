"""The list of policies. Changing and removing one tells how devices stand, and therefore lives in console."""

from __future__ import annotations

from django.db.models import Count, Min
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from backupsite.policies.models import Policy
from backupsite.policies.schedule import Schedule


@require_safe
def policies(request: HttpRequest) -> HttpResponse:
    listed = Policy.objects.annotate(
        device_count=Count("assignments", distinct=True), next_due=Min("assignments__next_due")
    ).prefetch_related("sources")
    rows = [(policy, Schedule.of(policy).sentence()) for policy in listed]
    return render(request, "policies/policies.html", {"rows": rows, "now": timezone.now()})
