"""The list of policies. Changing and removing one tells how devices stand, and therefore lives in console."""

from __future__ import annotations

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from backupsite.policies.dues import earliest_due
from backupsite.policies.models import Policy
from backupsite.policies.schedule import Schedule
from backupsite.policies.windows import COLD, needs_window, own_window


@require_safe
def policies(request: HttpRequest) -> HttpResponse:
    listed = Policy.objects.annotate(
        device_count=Count("assignments", distinct=True), next_due=earliest_due("assignments__")
    ).prefetch_related("sources")
    rows = [(policy, _say_when(policy)) for policy in listed]
    return render(request, "policies/policies.html", {"rows": rows, "now": timezone.now()})


def _say_when(policy: Policy) -> list[str]:
    """Return when its runs start, in words, a line for each schedule that starts something."""
    sources = list(policy.sources.all())
    own, window = own_window(sources, has_window=policy.cold_is_enabled), Schedule.of_window(policy)
    lines = [Schedule.of(policy).sentence() + (", cold" if own == COLD else "")] if own or not sources else []
    if window is not None and any(needs_window(source) for source in sources):
        lines.append(f"{window.sentence()}, cold")
    return lines or ["Never: everything is left out"]
