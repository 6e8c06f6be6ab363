"""What of what was found on devices nobody decided about, for any number of them."""

from __future__ import annotations

from collections.abc import Collection

from backupsite.fleet.models import Device
from backupsite.policies.found import Decided, find_undecided, read_found, say_undecided
from backupsite.policies.models import PolicyDevice, Source


def list_undecided(device_ids: Collection[int]) -> dict[int, str]:
    """Given at most some hundred devices, return what of each nobody decided about, ready to be shown, "" for
    nothing. A device that was never looked at has nothing. Runs two queries."""
    decided: dict[int, list[Decided]] = {device: [] for device in device_ids}
    rows = PolicyDevice.objects.filter(
        device_id__in=device_ids, policy__is_enabled=True, policy__sources__isnull=False
    )
    columns = ("device_id", "policy__sources__key", "policy__sources__path", "policy__sources__mode")
    for device, key, path, mode in rows.values_list(*columns):
        decided[device].append(Decided(key, path, mode == Source.OUT))
    found = dict(Device.objects.filter(pk__in=device_ids).values_list("pk", "found"))
    return {
        device: say_undecided(find_undecided(read_found(found.get(device, "")), sources))
        for device, sources in decided.items()
    }
