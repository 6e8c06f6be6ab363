"""Apprise URLs: which ones are taken, and what may be shown of them.

Apprise can also run commands, talk to the desktop, and read local files that a URL names (templates, keys).
Therefore both the services and the parameters are allow-lists.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

import apprise

from agents.commands import Secret

# Apprise has no types for these.
parse_url: Any = apprise.URLBase.parse_url
# Its warnings can repeat a part of an address: they are caught, and never reach our log.
capture: Any = apprise.LogCapture
logging.getLogger("apprise").propagate = False


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Services whose host in the URL is a host; in others it can be a token, so it is not shown.
HOSTED: Final = _words(
    "mailto mailtos json jsons xml xmls form forms gotify gotifys mmost mmosts matrix matrixs rocket rockets "
    "apprise apprises hassio hassios nctalk nctalks signal signals"
)
ALLOWED: Final = HOSTED | _words(
    "ntfy ntfys slack discord tgram workflow workflows zulip gchat wxteams webex pover pbul pagerduty "
    "opsgenie splunk victorops twilio sendgrid mailgun signl4 ilert incidentio betterstack squadcast"
)
_PARAMETERS: Final = _words(
    "action alias apikey auth batch bcc blocks botname cc channel channels click cto dedup delay detect "
    "email emojis entity expire footer format from group icon_url id image interval key key_id level method "
    "mode msgtype name nid overflow pass ping port powerautomate prefix preview priority reply region "
    "route routeid routing_key rto secret severity sid sig silent smtp sound status tags team thread "
    "timestamp to token topic tts url_prefix url_title user v ver verify version workspace wrap xtags"
)


class AddressRefused(Exception):
    """An address cannot be used. The text is one sentence for the person who typed it; it holds no secret."""


@dataclass(frozen=True)
class Address:
    """An address that Apprise understands and we allow."""

    url: Secret
    scheme: str
    masked_host: str


def read_address(text: str) -> Address:
    """Given what somebody typed, return the address. Raise AddressRefused. Nothing is sent."""
    text = text.strip()
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if not scheme:
        raise AddressRefused(
            "Write an Apprise URL, for example mailto://user:password@example.org or ntfys://topic."
        )
    # https: addresses as services give them out ("webhooks"); Apprise knows whose they are.
    if scheme != "https" and scheme not in ALLOWED:
        raise AddressRefused(f"“{scheme[:20]}” is not a service that Hotfleet sends to.")
    _refuse_parameters(text)
    plugin = _load(text)
    schemes = schemes_of(plugin)
    if not schemes & ALLOWED:
        raise AddressRefused("This is not an address of a service that Hotfleet sends to.")
    shown = scheme if scheme in ALLOWED else sorted(schemes & ALLOWED)[0]
    return Address(Secret(text), shown, mask_host(str(plugin.host or "")) if shown in HOSTED else "")


def load_plugin(url: Secret) -> Any:
    """Given a stored address, return Apprise's plug-in for it, checked again. Raise AddressRefused."""
    return _load(read_address(url.reveal()).url.reveal())


def mask_host(host: str) -> str:
    """Given a host, return enough to tell two apart and not enough to use it ("ma…org")."""
    return f"{host[:2]}…{host[-3:]}" if len(host) > 8 else f"{host[:1]}…" if host else ""


def _load(text: str) -> Any:
    # Memory only: plug-ins may not keep files, and none are loaded from directories.
    asset = apprise.AppriseAsset(async_mode=False, secure_logging=True, plugin_paths=[])
    with capture(level=logging.WARNING):
        plugin = apprise.Apprise.instantiate(text, asset=asset, suppress_exceptions=True)
    if plugin is None:
        raise AddressRefused(
            "Apprise does not understand this address. Compare it with the service's example."
        )
    return plugin


def schemes_of(plugin: Any) -> set[str]:
    """Given a plug-in, return the schemes that its service has."""
    found: set[str] = set()
    for value in (plugin.protocol, plugin.secure_protocol):
        found |= {value} if isinstance(value, str) else set(value or ())
    return found


def _refuse_parameters(text: str) -> None:
    # Apprise's own parser: it also separates at ";", which others do not.
    parts = parse_url(text, verify_host=False) or {}
    for name in parts.get("qsd", {}):
        # A header or a field of the message in Apprise's own notation.
        if name[:1] in {"+", "-", ":", " "}:
            continue
        if name.lower() not in _PARAMETERS:
            raise AddressRefused(f"The parameter “{name[:30]}” is not allowed: it could read files here.")
