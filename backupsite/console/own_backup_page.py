"""The buttons of the console's own backup, and the end of a recovery."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from backupsite.accounts.audit import record
from backupsite.repositories.models import ConsoleRepository


@require_POST
def console_backup(request: HttpRequest) -> HttpResponse:
    """Have the next tick copy the console, into every storage."""
    with transaction.atomic():
        # The mark of no state: whatever it is now counts as a change.
        ConsoleRepository.objects.update(next_at=timezone.now(), mark="")
        record(request, "console.backup", "console")
    messages.success(request, "The console is copied within a minute.")
    return redirect("repositories")
