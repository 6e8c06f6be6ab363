"""The page of a fault in Hotfleet itself."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.template import loader

from backupsite import __version__


def fault(request: HttpRequest) -> HttpResponse:
    """Answer a request that raised an exception. No session, no database: they may be what is broken."""
    page = loader.get_template("500.html").render({"request": request, "version": __version__})
    return HttpResponse(page, status=500)
