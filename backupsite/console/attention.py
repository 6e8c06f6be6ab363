"""What a person must look at, worst first. Pure: the fleet page asks the database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from agents.errors import ServiceDown
from backupsite.console.standings import Failure
from backupsite.fleet.models import Device
from backupsite.policies.naming import name_source
from backupsite.recovery.exposure import DeviceExposure, Standing
from backupsite.recovery.wal_models import WalStream
from backupsite.web.formatting import format_ago, format_duration
from backupsite.web.status import Tone


@dataclass(frozen=True)
class Item:
    """One device in trouble: what, why, and the one button that helps."""

    device: Device
    tone: Tone
    title: str
    text: str
    action: str
    url: str
    rank: int


def make_item(
    device: Device,
    exposure: DeviceExposure,
    failure: Failure | None,
    key_has_changed: bool | None,
    now: datetime,
    late_log: WalStream | None = None,
) -> Item | None:
    """Given what is known of a device, return its most urgent trouble, or None. `late_log` is behind.

    `key_has_changed` is True for another host key than the approved one, False for a first key that waits,
    None when no key waits.
    """
    connect = reverse("device-connect", args=[device.slug])
    if failure is not None and failure.run.error_code == ServiceDown.code:
        # Worse than any missing copy: an application stands still because of us.
        url = failure.run.get_absolute_url()
        return Item(device, "bad", "A service is down", failure.run.error_text, "See the cause", url, -1)
    if key_has_changed:
        text = "Nothing is sent to it until someone compares the fingerprints."
        return Item(device, "bad", "SSH host key changed", text, "Compare keys", connect, 0)
    if exposure.standing in (Standing.OUTSIDE, Standing.NEVER) or failure is not None:
        return _make_late_item(device, exposure, failure, now)
    if late_log is not None:
        return _make_log_item(device, late_log)
    if key_has_changed is False:
        text = "Compare the fingerprint with the device's own, then approve it."
        return Item(device, "warn", "Host key waits for approval", text, "Compare keys", connect, 3)
    if exposure.standing is Standing.UNPROTECTED:
        return _make_unprotected_item(device, connect)
    if exposure.standing is Standing.UNDECIDED:
        url = f"{device.get_absolute_url()}#undecided"
        return Item(device, "warn", "Nobody decided about all data", exposure.undecided, "Decide", url, 6)
    return None


def _make_late_item(device: Device, exposure: DeviceExposure, failure: Failure | None, now: datetime) -> Item:
    worst, rank = exposure.worst, 1
    if exposure.standing is Standing.OUTSIDE and worst is not None and worst.newest_at is not None:
        age = format_ago(worst.newest_at, now).removesuffix(" ago")
        title = f"{age} without a restore point, target {format_duration(worst.rpo)}"
    elif exposure.standing is Standing.NEVER:
        title = "No restore point yet"
    else:
        title, rank = "The newest backup failed", 2
    if failure is None:
        path = name_source(worst.key) if worst is not None else ""
        return Item(device, "bad", title, path, "Open device", device.get_absolute_url(), rank)
    cause = failure.run.error_text or failure.run.get_state_display()
    text = cause if failure.count == 1 else f"{failure.count} backups in a row failed. {cause}"
    return Item(device, "bad", title, text, "See the cause", failure.run.get_absolute_url(), rank)


def _make_log_item(device: Device, stream: WalStream) -> Item:
    title = f"The log of {name_source(stream.source)} is behind"
    text = stream.problem or "What was written since would be lost with the device."
    return Item(device, "bad", title, text, "Open device", f"{device.get_absolute_url()}#any-moment", 2)


def _make_unprotected_item(device: Device, connect: str) -> Item:
    if device.reached_at is None:
        text = "It was added, but never reached."
        return Item(device, "off", "Not connected yet", text, "Connect", connect, 4)
    url = f"{reverse('policy-new')}?device={device.slug}"
    return Item(device, "off", "Not protected", "No enabled policy covers it.", "Protect it", url, 5)


def rank_items(items: Iterable[Item | None]) -> list[Item]:
    """Given items, return the real ones, the most urgent first."""
    return sorted((i for i in items if i is not None), key=lambda i: (i.rank, i.device.name.casefold()))
