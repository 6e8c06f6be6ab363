"""What every page's frame needs."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def frame(request: HttpRequest) -> dict[str, object]:
    """Given a request, return the frame's variables. Runs no query."""
    from backupsite import __version__

    return {"version": __version__, "is_demo": settings.HOTFLEET_IS_DEMO}
