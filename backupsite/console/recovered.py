"""After a recovery: what the first page says until a person confirms that the old console is off."""

from __future__ import annotations

from datetime import datetime

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from backupsite.console.pausing_page import restate_paused
from backupsite.console.recovering import ACTOR
from backupsite.fleet.devices import actor_of
from backupsite.policies.models import Pause
from backupsite.policies.pausing import end_pauses, list_active


def find_recovery(now: datetime) -> Pause | None:
    """Return the pause that a recovery made, while nobody has confirmed. Runs one query."""
    return list_active(now).filter(device=None, policy=None, made_by=ACTOR.name).first()


@require_POST
def confirm_recovery(request: HttpRequest) -> HttpResponse:
    """The old console is off: schedules start again."""
    now = timezone.now()
    if find_recovery(now) is not None:
        with transaction.atomic():
            end_pauses(actor_of(request), None, now=now)
            restate_paused(None)
        messages.success(
            request, "Schedules start again. What was due meanwhile is made up for by one run each."
        )
    return redirect("fleet")
