"""The tabs that every page of a device shows."""

from __future__ import annotations

from django.urls import reverse

from backupsite.fleet.models import Device

PAGES = (
    ("Overview", "device"),
    ("Restore points", "device-points"),
    ("Runs", "device-runs"),
    ("Drills", "device-drills"),
    ("Connection", "device-connect"),
    ("Settings", "device-edit"),
)


def make_tabs(device: Device, current: str) -> list[tuple[str, str, bool]]:
    """Given a device and the URL name of the page that is shown, return its tabs. Runs no query."""
    return [(words, reverse(name, args=[device.slug]), name == current) for words, name in PAGES]
