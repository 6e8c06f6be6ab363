"""Settings of the person who is signed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from backupsite.accounts.audit import record
from backupsite.accounts.browsers import describe_browser
from backupsite.accounts.forms import PasswordForm, TimeZoneForm, time_zones
from backupsite.accounts.models import User
from backupsite.accounts.sessions import SessionStore
from backupsite.accounts.signing import current_hash, end_sessions
from backupsite.accounts.tabs import settings_tabs


@dataclass(frozen=True)
class OpenSession:
    """One row of the list of sessions."""

    id: str
    browser: str
    address: str
    created_at: datetime
    expires_at: datetime
    is_current: bool


@require_GET
def settings_page(request: HttpRequest) -> HttpResponse:
    return redirect("settings-me")


@sensitive_post_parameters("present", "new")
@require_http_methods(["GET", "POST"])
def settings_me(request: HttpRequest) -> HttpResponse:
    user = _person(request)
    if request.method == "GET":
        return _page(request, user, _zone_form(user), PasswordForm(user))
    if "new" in request.POST:
        return _change_password(request, user)
    form = TimeZoneForm(request.POST)
    if not form.is_valid():
        return _page(request, user, form, PasswordForm(user), status=422)
    user.time_zone = form.cleaned_data["time_zone"]
    user.save(update_fields=["time_zone"])
    messages.success(request, "Time zone saved.")
    return redirect("settings-me")


def _zone_form(user: User) -> TimeZoneForm:
    return TimeZoneForm(initial={"time_zone": user.time_zone})


def _change_password(request: HttpRequest, user: User) -> HttpResponse:
    form = PasswordForm(user, request.POST.dict())
    if not form.is_valid():
        return _page(request, user, _zone_form(user), form, status=422)
    with transaction.atomic():
        user.set_password(form.cleaned_data["new"])
        user.save(update_fields=["password"])
        ended = end_sessions(user, but=current_hash(request))
        update_session_auth_hash(request, user)
        record(request, "password.changed", user.name, {"sessions_ended": ended})
    messages.success(request, "Password changed. Your other sessions are signed out.")
    return redirect("settings-me")


@require_POST
def session_end(request: HttpRequest) -> HttpResponse:
    user, wanted = _person(request), request.POST.get("session", "")
    with transaction.atomic():
        if not end_sessions(user, only=wanted):
            raise Http404("no such session")
        record(request, "session.ended", user.name)
    messages.success(request, "That session is signed out.")
    return redirect("settings-me")


def _page(
    request: HttpRequest, user: User, zone: TimeZoneForm, password: PasswordForm, status: int = 200
) -> HttpResponse:
    context = {
        "tabs": settings_tabs("settings-me"),
        "zone_form": zone,
        "password_form": password,
        "time_zones": time_zones(),
        "sessions": _open_sessions(user, current_hash(request)),
    }
    return render(request, "accounts/settings_me.html", context, status=status)


def _open_sessions(user: User, current: str) -> list[OpenSession]:
    rows = user.sessions.filter(expires_at__gt=timezone.now()).order_by("-created_at")[:50]
    found = []
    for row in rows:
        data = SessionStore().decode(row.data)
        found.append(
            OpenSession(
                row.key_hash,
                describe_browser(str(data.get("browser", ""))),
                str(data.get("address", "")),
                row.created_at,
                row.expires_at,
                row.key_hash == current,
            )
        )
    return found


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise Http404("nobody is signed in")
    return User.objects.get(pk=request.user.pk)
