"""What every request passes: the session, who is signed in, their time zone; first of all the set-up."""

from __future__ import annotations

import zoneinfo
from collections.abc import Callable
from typing import Any

from django.contrib.auth import middleware as django_auth
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone

from backupsite.accounts.models import User


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's own; it takes the engine from SESSION_ENGINE (accounts/sessions.py)."""


def administrator_exists() -> bool:
    """Return True once somebody may administer the console. Runs one query."""
    return User.objects.filter(is_superuser=True, is_active=True).exists()


class LoginRequiredMiddleware(django_auth.LoginRequiredMiddleware):
    """Strangers go to the login page; while there is no administrator, everybody goes to the set-up."""

    def process_view(
        self, request: HttpRequest, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponseBase | None:
        if request.user.is_authenticated:
            _activate_time_zone(request.user.time_zone)
            return None
        timezone.deactivate()
        if not _is_open_before_setup(request) and not administrator_exists():
            return redirect("setup")
        answer: HttpResponseBase | None = super().process_view(request, view_func, view_args, view_kwargs)
        return answer


def _is_open_before_setup(request: HttpRequest) -> bool:
    match = request.resolver_match
    name = (match.url_name or "") if match is not None else ""
    return name in {"setup", "setup-admin", "healthz", "theme"}


def _activate_time_zone(name: str) -> None:
    # Threads serve many requests: the zone of the one before must never stay.
    try:
        timezone.activate(zoneinfo.ZoneInfo(name))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        timezone.deactivate()
