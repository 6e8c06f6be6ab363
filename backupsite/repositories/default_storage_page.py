"""The button that makes a storage the one of new devices."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from backupsite.repositories.default_storage import make_default
from backupsite.repositories.models import Storage
from backupsite.web.visible import make_visible


@require_POST
def storage_default(request: HttpRequest, pk: int) -> HttpResponse:
    storage = get_object_or_404(Storage, pk=pk)
    make_default(request, storage)
    messages.success(
        request,
        f"New devices get their repository in {make_visible(storage.name)}. Those that exist stay.",
    )
    return redirect("repositories")
