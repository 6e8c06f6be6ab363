"""Light, dark, or what the system says: a cookie, so that the server renders it and nothing flashes."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

COOKIE: Final = "theme"
THEMES: Final = ("light", "dark", "system")
COOKIE_AGE_S: Final = 400 * 86_400


def read_theme(request: HttpRequest) -> str:
    """Given a request, return "light", "dark" or "system" (also when the cookie says something else)."""
    theme = request.COOKIES.get(COOKIE, "system")
    return theme if theme in THEMES else "system"


@login_not_required
@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Set the cookie and go back to the page that asked."""
    theme = request.POST.get("theme", "")
    if theme not in THEMES:
        return HttpResponseBadRequest("theme must be light, dark or system")
    response = HttpResponseRedirect(_safe_return(request))
    # main.js sets the same cookie without a page load, so it is not HttpOnly; it is no secret.
    response.set_cookie(
        COOKIE, theme, max_age=COOKIE_AGE_S, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
    )
    return response


def _safe_return(request: HttpRequest) -> str:
    wanted = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure()):
        return wanted
    try:
        return reverse("fleet")
    except NoReverseMatch:
        return "/"
