"""How far the set-up is: asked of the database each time, so that it can be left and resumed anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_GET

from backupsite.accounts.middleware import administrator_exists
from backupsite.repositories.models import RecoveryPassword, Storage

_STEPS: Final = (
    ("setup-admin", "Administrator"),
    ("setup-storage", "Place for backups"),
    ("setup-kit", "Recovery kit"),
)


@dataclass(frozen=True)
class Progress:
    """`done` holds the URL names of the finished steps; `next_step` is None when all are."""

    done: frozenset[str]
    next_step: str | None

    @property
    def is_complete(self) -> bool:
        return self.next_step is None


def read_progress() -> Progress:
    """Return how far the set-up is. Runs three small queries."""
    facts = {
        "setup-admin": administrator_exists(),
        "setup-storage": Storage.objects.exists(),
        "setup-kit": RecoveryPassword.objects.filter(kit_confirmed_at__isnull=False).exists(),
    }
    done = frozenset(name for name, is_done in facts.items() if is_done)
    return Progress(done, next((name for name, _ in _STEPS if name not in done), None))


def list_steps(progress: Progress, current: str) -> list[tuple[str, str]]:
    """Given the progress and the page's URL name, return (text, state) for parts/steps.html."""
    return [
        (text, "current" if name == current else "done" if name in progress.done else "")
        for name, text in _STEPS
    ]


@login_not_required
@require_GET
def setup(request: HttpRequest) -> HttpResponse:
    """Go to the first step that is not done; after the last one, to the first device.

    The address on the terminal carries the one-time code: the first step gets it.
    """
    progress = read_progress()
    if progress.next_step == "setup-admin" and "code" in request.GET:
        return redirect(f"{reverse('setup-admin')}?{urlencode({'code': request.GET['code']})}")
    if progress.next_step is not None:
        return redirect(progress.next_step)
    return redirect("device-new")
