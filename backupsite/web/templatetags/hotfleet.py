"""Formatting tags and filters of every page (a builtin library: no `{% load %}` needed)."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import template
from django.http import HttpRequest
from django.template import Context
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from backupsite.web import formatting, visible
from backupsite.web.navigation import Group, find_url, make_navigation
from backupsite.web.status import Status
from backupsite.web.theme import read_theme

register = template.Library()


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """Given a name of static/icons/icons.txt, return the icon. It is not read aloud: put a word beside it."""
    return format_html(
        '<svg class="icon icon-{}{}" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>',
        name,
        f" {extra}" if extra else "",
        static("icons/sprite.svg"),
        name,
    )


@register.simple_tag
def status(value: Status, extra: str = "") -> SafeString:
    """Given a Status, return its badge: icon, word, tone. `extra` may be "plain" (no ground)."""
    classes = f"badge {value.tone} {extra}".strip()
    return format_html('<span class="{}">{}<span>{}</span></span>', classes, icon(value.icon), value.label)


@register.simple_tag
def time(value: datetime | None, style: str = "ago") -> SafeString:
    """Given an aware time, return a <time> element: "ago" (kept fresh by main.js), "date", "clock" or "full".

    The exact time is in its title. An unknown time is a dash.
    """
    if value is None:
        return format_html("{}", formatting.UNKNOWN)
    local = timezone.localtime(value)
    exact = formatting.format_moment(local)
    if style == "ago":
        text = formatting.format_ago(value, timezone.now())
        return format_html(
            '<time datetime="{}" title="{}" data-ago>{}</time>',
            local.isoformat(timespec="seconds"),
            exact,
            text,
        )
    shown = {
        "clock": f"{local:%H:%M:%S}",
        "date": f"{local.day} {local:%b %Y, %H:%M}",
        "full": exact,
    }[style]
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', local.isoformat(timespec="milliseconds"), exact, shown
    )


@register.simple_tag(takes_context=True)
def navigation(context: Context) -> tuple[Group, ...]:
    """Return the navigation's groups for the page that is shown."""
    return make_navigation(_request(context).path)


@register.simple_tag(takes_context=True)
def theme(context: Context) -> str:
    """Return "light", "dark" or "system"."""
    return read_theme(_request(context))


@register.simple_tag
def url_or_nothing(url_name: str) -> str:
    """Given a URL name without arguments, return its path, or "" when no page has that name yet."""
    return find_url(url_name) or ""


@register.simple_tag
def page_query(query: str, page: int) -> str:
    """Given the request's query string and a page number, return the query string of that page."""
    from django.http import QueryDict

    fields = QueryDict(query, mutable=True)
    fields["page"] = str(page)
    return fields.urlencode()


def _request(context: Context) -> HttpRequest:
    request = context["request"]
    if not isinstance(request, HttpRequest):
        raise template.TemplateSyntaxError("the frame needs the context processor for `request`")
    return request


@register.filter(name="bytes")
def bytes_(value: float | None) -> str:
    return formatting.format_bytes(value)


@register.filter
def rate(value: float | None) -> str:
    return formatting.format_rate(value)


@register.filter
def duration(value: timedelta | float | None) -> str:
    return formatting.format_duration(value)


@register.filter
def milliseconds(value: float | None) -> str:
    return formatting.format_milliseconds(value)


@register.filter
def count(value: int | None) -> str:
    return formatting.format_count(value)


@register.filter
def ago(value: datetime | None) -> str:
    return formatting.UNKNOWN if value is None else formatting.format_ago(value, timezone.now())


@register.filter
def safe_text(value: object) -> str:
    """Text that came from a device: hidden characters become visible escapes. Still escaped as HTML after."""
    return visible.make_visible(str(value))


@register.filter
def middle(value: object, length: int) -> str:
    """Shorten in the middle, after making visible."""
    return visible.shorten_middle(visible.make_visible(str(value)), length)
