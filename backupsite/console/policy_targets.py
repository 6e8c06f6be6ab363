"""The devices of a policy, with what is known of them: facts, and the receipts of their last runs."""

from __future__ import annotations

from collections.abc import Iterable

from backupsite.console.policy_outcome import Target
from backupsite.fleet.models import Device
from backupsite.policies.known import read_known_facts
from backupsite.runs.models import RunFreeze

# More devices say little more, and each has a long list of facts to read.
MOST_TARGETS = 5
# How many receipts of each kind are looked at: enough for the longest of a week or two.
MOST_RECEIPTS = 200


def read_targets(devices: Iterable[Device]) -> list[Target]:
    """Given some devices, return the first MOST_TARGETS as a preview needs them. Runs a query for each."""
    return [read_target(device) for device in list(devices)[:MOST_TARGETS]]


def read_target(device: Device) -> Target:
    """Given a device, return what is known of it. Runs one query."""
    stops: dict[str, list[float]] = {}
    freezes: dict[str, list[float]] = {}
    newest = RunFreeze.objects.filter(run__device=device).order_by("-run__number", "-id")
    for what, milliseconds, is_stop in newest.values_list("what", "milliseconds", "is_stop")[:MOST_RECEIPTS]:
        (stops if is_stop else freezes).setdefault(what, []).append(milliseconds)
    return Target(device.name, device.criticality, read_known_facts(device), stops, freezes)
