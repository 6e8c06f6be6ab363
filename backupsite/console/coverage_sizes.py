"""How much of what lies on a device the policies keep, leave out, or say nothing of. Pure but for words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.utils.safestring import SafeString

from agents.facts import DeviceFacts
from agents.facts.fills import measured_points
from agents.facts.mounts import Mount, find_mount
from backupsite.console.coverage import covers
from backupsite.policies.models import Source
from backupsite.web.charts import Segment, draw_legend, draw_segments
from backupsite.web.formatting import format_bytes


@dataclass(frozen=True)
class Covered:
    """One file system: what it holds, and how much of that which policy keeps, by name. Bytes; `used` None:
    nobody measured it. `kept` never exceeds `used`. `is_rest_out`: the rest was left out on purpose."""

    point: str
    used: int | None
    kept: dict[str, int] = field(default_factory=dict)
    is_rest_out: bool = False

    @property
    def rest(self) -> int:
        return (self.used or 0) - sum(self.kept.values())

    @property
    def words(self) -> str:
        return "not measured" if self.used is None else format_bytes(self.used)

    @property
    def kept_words(self) -> list[tuple[str, str]]:
        return [(name, format_bytes(size)) for name, size in self.kept.items()]

    @property
    def rest_words(self) -> str:
        return format_bytes(self.rest) if self.used is not None and self.rest else ""


def measure_coverage(
    facts: DeviceFacts, sources: Iterable[Source], stored: Mapping[tuple[int, str], int]
) -> list[Covered]:
    """Given what was seen on a device, the sources of its enabled policies, and how large the newest restore
    point of each is (by policy and key), return each file system of its own.

    A source that covers a file system keeps all of it; one in it, as much as its restore point holds."""
    listed = list(sources)
    used = {fill.point: fill.used_bytes for fill in facts.fills}
    mounts = {mount.point: mount for mount in facts.mounts}
    return [
        _cover(mounts[point], used.get(point), listed, facts, stored)
        for point in measured_points(facts.mounts)
    ]


def _cover(
    mount: Mount,
    used: int | None,
    sources: list[Source],
    facts: DeviceFacts,
    stored: Mapping[tuple[int, str], int],
) -> Covered:
    whole = [source for source in sources if source.path and covers(source.path, mount)]
    is_out = any(source.mode == Source.OUT for source in whole)
    keeper = next((source for source in whole if source.mode != Source.OUT), None)
    if keeper is not None and used is not None:
        return Covered(mount.point, used, {keeper.policy.name: used})
    left, kept = used or 0, dict[str, int]()
    for source in sources:
        if source.mode != Source.OUT and mount.device in _devices_of(source, facts):
            size = min(stored.get((source.policy_id, source.key), 0), left)
            if size:
                kept[source.policy.name] = kept.get(source.policy.name, 0) + size
                left -= size
    return Covered(mount.point, used, kept, is_out)


def _devices_of(source: Source, facts: DeviceFacts) -> set[str]:
    """Return the file systems in which a source lies, by their "major:minor"."""
    if source.path:
        return {find_mount(source.path, facts.mounts).device}
    instance = facts.instance(source.application, source.instance)
    return {find_mount(place, facts.mounts).device for place in instance.places} if instance else set()


def draw_coverage(rows: Iterable[Covered]) -> tuple[SafeString, SafeString] | None:
    """Given the file systems, return one bar of all of them and its legend; None when none was measured."""
    measured = [row for row in rows if row.used is not None]
    kept = sum(sum(row.kept.values()) for row in measured)
    out = sum(row.rest for row in measured if row.is_rest_out)
    rest = sum(row.rest for row in measured if not row.is_rest_out)
    if not kept + out + rest:
        return None
    segments = [
        Segment("kept by policies", kept, "good", said=format_bytes(kept)),
        Segment("left out on purpose", out, "off", said=format_bytes(out)),
        Segment("in no source", rest, "warn", said=format_bytes(rest)),
    ]
    shown = [segment for segment in segments if segment.value]
    return draw_segments("coverage", "Data of this device by size", shown), draw_legend(shown)
