"""The tabs of the settings pages. A page that does not exist has no tab."""

from __future__ import annotations

from typing import Final

from backupsite.web.navigation import find_url

_TABS: Final = (
    ("Your account", "settings-me"),
    ("Notifications", "settings-notify"),
    ("About this console", "settings-about"),
)


def settings_tabs(current: str) -> list[tuple[str, str, bool]]:
    """Given the URL name of the page that is shown, return the tabs for parts/tabs.html."""
    urls = [(text, find_url(name), name == current) for text, name in _TABS]
    return [(text, url, is_current) for text, url, is_current in urls if url is not None]
