"""What of a device is protected, and which of its file systems nobody decided about. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from agents.errors import ProtocolBroken
from agents.facts.device import DeviceFacts, from_json
from agents.facts.mounts import Mount, is_within
from backupsite.fleet.models import Device


@dataclass(frozen=True)
class Gap:
    """A file system that no source covers whole. `covered` are the sources that lie in it."""

    point: str
    kind: str
    covered: tuple[str, ...]


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


def find_gaps(mounts: Iterable[Mount], sources: Iterable[str]) -> list[Gap]:
    """Given the mounts of a device and the paths that its policies protect, return what is not covered.

    File systems of the kernel, of the network and read-only ones are no data of this device. One file system
    that is mounted at several points counts once, at the point with the shortest name.
    """
    paths = sorted(set(sources))
    gaps: dict[str, Gap] = {}
    protected: set[str] = set()
    for mount in sorted(mounts, key=lambda mount: (len(mount.point), mount.point)):
        if mount.is_pseudo or mount.is_network or mount.is_read_only:
            continue
        if any(is_within(mount.point, path) for path in paths):
            protected.add(mount.device)
            continue
        covered = tuple(path for path in paths if is_within(path, mount.point))
        gaps.setdefault(mount.device, Gap(mount.point, mount.kind, covered))
    return [gap for device, gap in gaps.items() if device not in protected]
