"""The sheet beside the recovery kit: to look at, to print, to take away."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from backupsite.accounts.audit import record
from backupsite.repositories.kit import hand_out_sheet, list_unprinted, write_directory
from backupsite.repositories.models import RecoveryPassword


@never_cache
@require_http_methods(["GET", "POST"])
def kit_sheet(request: HttpRequest) -> HttpResponse:
    """Show the sheet; a POST answers it as a file, and from then on it counts as taken."""
    if request.method == "GET":
        kit = RecoveryPassword.objects.order_by("id").last()
        crumbs = [("Repositories", reverse("repositories")), ("Recovery kit", "")]
        context = {"sheet": write_directory(), "kit": kit, "unprinted": list_unprinted(), "crumbs": crumbs}
        return render(request, "repositories/kit.html", context)
    with transaction.atomic():
        text = hand_out_sheet()
        record(request, "kit.sheet", "recovery kit")
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="hotfleet-recovery-sheet.txt"'
    return response
