"""What every page's frame needs."""

from __future__ import annotations

from django.http import HttpRequest


def frame(request: HttpRequest) -> dict[str, object]:
    """Given a request, return the frame's variables. Runs no query."""
    from backupsite import __version__

    return {"version": __version__}
