"""Every restore of files and applications, newest first."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from backupsite.recovery.words import say_restore
from backupsite.runs.listing import Row
from backupsite.runs.models import Run

PAGE_SIZE = 50


@dataclass(frozen=True)
class RestoreRow(Row):
    """A restore with its words, ready to be shown."""

    @property
    def what(self) -> str:
        return say_restore(self.run)[0]

    @property
    def target(self) -> str:
        return say_restore(self.run)[1]


@require_safe
def restores(request: HttpRequest) -> HttpResponse:
    """Show who restored what, when, to where. Runs two queries."""
    found = Run.objects.filter(kind__in=[Run.RESTORE, Run.COMEBACK]).select_related("device")
    page = Paginator(found.order_by("-number"), PAGE_SIZE).get_page(request.GET.get("page"))
    rows = [RestoreRow(run) for run in page.object_list]
    return render(request, "recovery/restores.html", {"rows": rows, "page": page})
