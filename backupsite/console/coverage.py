"""What of a device is protected, and which of its file systems nobody decided about. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agents.facts.mounts import Mount, is_within


@dataclass(frozen=True)
class Gap:
    """A file system that no source covers whole. `covered` are the sources that lie in it."""

    point: str
    kind: str
    covered: tuple[str, ...]

    @property
    def is_typable(self) -> bool:
        """A form refuses what cannot be seen; an address cannot even hold it."""
        return self.point.isprintable()


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
        if any(covers(path, mount) for path in paths):
            protected.add(mount.device)
            continue
        covered = tuple(path for path in paths if is_within(path, mount.point))
        gaps.setdefault(mount.device, Gap(mount.point, mount.kind, covered))
    return [gap for device, gap in gaps.items() if device not in protected]


def covers(path: str, mount: Mount) -> bool:
    """Return whether a source with this path stores what is mounted there, or leaves it out on purpose."""
    return path == mount.point if mount.is_apart else is_within(mount.point, path)
