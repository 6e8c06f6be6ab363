"""How sources are called on pages. Pure."""

from __future__ import annotations

from agents.applications import applications
from backupsite.web.visible import make_visible


def name_source(key: str, part: str = "") -> str:
    """Given a source's key, and the stream of a restore point, return its name, ready to be shown:
    "PostgreSQL 15/main, stream base.tar"; a path stays what it is."""
    kind, _, instance = key.partition(":")
    known = None if key.startswith("/") else applications().get(kind)
    name = f"{known.label} {instance}" if known is not None else key
    return make_visible(f"{name}, stream {part}" if part else name)
