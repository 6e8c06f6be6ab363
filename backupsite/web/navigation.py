"""The navigation: sections of items. A page that does not exist yet has no item."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse


@dataclass(frozen=True)
class Item:
    """One entry. `url_name` must resolve without arguments; `on_phone` puts it into the bottom bar.
    The entry is current on the pages below `also`, a URL name, too."""

    label: str
    icon: str
    url_name: str
    on_phone: bool = False
    also: str = ""


@dataclass(frozen=True)
class Section:
    """A group of entries; the first one has no title."""

    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Link:
    """An entry ready to be drawn."""

    label: str
    icon: str
    url: str
    is_current: bool
    on_phone: bool


@dataclass(frozen=True)
class Group:
    """A section ready to be drawn."""

    title: str
    links: tuple[Link, ...]


SECTIONS = (
    Section(
        "",
        (
            Item("Fleet", "fleet", "fleet", on_phone=True),
            Item("Devices", "device", "devices", on_phone=True, also="tags"),
            Item("Runs", "run", "runs", on_phone=True),
            Item("Alerts", "alert", "alerts"),
        ),
    ),
    Section(
        "Recover",
        (
            Item("Restore points", "point", "points", on_phone=True),
            Item("Restores", "restore", "restores"),
            Item("Restore drills", "drill", "drills"),
        ),
    ),
    Section(
        "Protect",
        (Item("Policies", "policy", "policies"), Item("Repositories", "repository", "repositories")),
    ),
    Section("Admin", (Item("Settings", "settings", "settings"),)),
)


def find_url(url_name: str) -> str | None:
    """Given a URL name, return its path, or None when no page has that name yet."""
    try:
        return reverse(url_name)
    except NoReverseMatch:
        return None


def find_current(path: str, urls: list[str]) -> str | None:
    """Given the request's path and the items' paths, return the longest one that contains it, or None."""
    inside = [url for url in urls if path == url or (url != "/" and path.startswith(url))]
    return max(inside, key=len, default=None)


def make_navigation(path: str, sections: tuple[Section, ...] = SECTIONS) -> tuple[Group, ...]:
    """Given the request's path, return the groups to draw, the current entry marked. Runs no query."""
    urls = {item.url_name: find_url(item.url_name) for section in sections for item in section.items}
    known = {url: url for url in urls.values() if url is not None}
    for item in (item for section in sections for item in section.items if item.also):
        also, url = find_url(item.also), urls[item.url_name]
        known |= {also: url} if also is not None and url is not None else {}
    current = known.get(find_current(path, list(known)) or "")
    groups = []
    for section in sections:
        links = tuple(
            Link(item.label, item.icon, url, url == current, item.on_phone)
            for item in section.items
            if (url := urls[item.url_name]) is not None
        )
        if links:
            groups.append(Group(section.title, links))
    return tuple(groups)
