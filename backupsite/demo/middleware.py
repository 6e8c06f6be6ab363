"""A demo shows and does nothing: what would change something is answered with a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import resolve
from django.utils.http import url_has_allowed_host_and_scheme

# What changes nothing but the reader's own view.
ALLOWED: Final = frozenset({"login", "logout", "theme", "policy-preview"})
_SAID: Final = "This is a demo: its buttons show where things are, and change nothing."


class DemoMiddleware:
    """Refuses every request of a demo that would write. Not installed anywhere else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method in ("GET", "HEAD", "OPTIONS") or resolve(request.path_info).url_name in ALLOWED:
            return self.get_response(request)
        messages.info(request, _SAID)
        came_from = request.headers.get("Referer", "")
        is_ours = url_has_allowed_host_and_scheme(came_from, {request.get_host()}, request.is_secure())
        return redirect(came_from if is_ours else "fleet")
