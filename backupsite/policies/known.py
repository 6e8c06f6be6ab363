"""What is known of a device from its newest check or backup."""

from __future__ import annotations

import json

from agents.errors import ProtocolBroken
from agents.facts.device import DeviceFacts, from_json
from backupsite.fleet.models import Device


def read_known_facts(device: Device) -> DeviceFacts | None:
    """Given a device, return the facts of its newest check; None when none can be read."""
    if not device.facts:
        return None
    text = device.facts if isinstance(device.facts, str) else json.dumps(device.facts)
    try:
        return from_json(text)
    except ProtocolBroken:
        # Facts of another version: the next check replaces them; the page says that they are not known.
        return None
