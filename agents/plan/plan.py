"""What a run will do, each choice with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from agents.applications import Quiesce, Stream
from agents.events import Consistency
from agents.plan.requests import SourceRequest


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a source on one file system, and how it is read. `path` has no symbolic links.

    `units` are what a snapshot of it takes, each atomic in itself; none when it is read live."""

    path: str
    method: str
    consistency: Consistency
    reason: str
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something inside of a source that is not stored, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlannedSource:
    """One source. It has `parts`, outermost first, or `streams`.

    `paths` are the words of restic, `excludes` the policy's patterns and ours. `scratch_bytes`: its streams,
    or restic while it reads its files, need a directory on a disk."""

    request: SourceRequest
    method: str
    consistency: Consistency
    paths: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    streams: tuple[Stream, ...] = ()
    quiesce: Quiesce | None = None
    left_out: tuple[LeftOut, ...] = ()
    excludes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    scratch_bytes: int = 0

    @property
    def key(self) -> str:
        return self.request.key

    @property
    def units(self) -> frozenset[str]:
        return frozenset(unit for part in self.parts for unit in part.units)

    @property
    def stays_stopped(self) -> bool:
        """Nothing can take a snapshot of it: its services stand still until its files are stored, or are
        watched so long when they stand anyway."""
        is_live = any(not part.units for part in self.parts)
        return is_live and self.quiesce is not None and (self.quiesce.is_stop or self.quiesce.is_watch)


@dataclass(frozen=True, slots=True)
class Moment:
    """Sources that are held still together: quiesce all, snapshot all, resume all.

    A source without a quiesce is in a moment too when its snapshot is shared with one that has."""

    sources: tuple[PlannedSource, ...]

    @property
    def quiesces(self) -> tuple[Quiesce, ...]:
        """Stops first: what takes longest to hold must not keep others waiting."""
        wanted = [source.quiesce for source in self.sources if source.quiesce is not None]
        return tuple(sorted(dict.fromkeys(wanted), key=lambda each: not each.is_stop))

    @property
    def is_stop(self) -> bool:
        return any(quiesce.is_stop for quiesce in self.quiesces)

    @property
    def limit_ms(self) -> float:
        """The shortest that a source of it allows."""
        if self.is_stop:
            stopped = [each for each in self.sources if each.quiesce is not None and each.quiesce.is_stop]
            return min(each.request.longest_downtime_s for each in stopped) * 1000.0
        return self.freeze_limit_ms

    @property
    def freeze_limit_ms(self) -> float:
        """The shortest freeze that a source of it allows, also where services stand still beside it."""
        return float(min(each.request.longest_freeze_ms for each in self.sources))

    def paths_by_method(self) -> dict[str, tuple[str, ...]]:
        """Return which real paths each provider takes, once each."""
        grouped: dict[str, dict[str, None]] = {}
        for source in self.sources:
            for part in source.parts:
                grouped.setdefault(part.method, {})[part.path] = None
        return {method: tuple(paths) for method, paths in grouped.items()}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do. `waiting` are sources that wait for the cold window, `absent` optional ones that
    are not on the device, `elsewhere` shared ones whose service is not there now, each with the reason."""

    sources: tuple[PlannedSource, ...]
    waiting: tuple[LeftOut, ...] = ()
    absent: tuple[LeftOut, ...] = ()
    elsewhere: tuple[LeftOut, ...] = ()

    def without(self, keys: Iterable[str]) -> Plan:
        """Return the plan without these sources."""
        gone = set(keys)
        return replace(self, sources=tuple(each for each in self.sources if each.key not in gone))

    @property
    def moments(self) -> tuple[Moment, ...]:
        """Return the sources with parts, those together that share a group or a unit of a snapshot.

        A source that stays stopped while it is stored has no moment: its stop spans the transfer."""
        moments: list[tuple[set[str], list[PlannedSource]]] = []
        for source in self.sources:
            if not source.parts or source.stays_stopped:
                continue
            ties = {f"unit {unit}" for unit in source.units}
            ties |= {f"group {source.request.group}"} if source.request.group else set()
            tied = [moment for moment in moments if moment[0] & ties]
            moments = [moment for moment in moments if moment not in tied]
            joined = [each for moment in tied for each in moment[1]]
            moments.append((ties.union(*(moment[0] for moment in tied)), [*joined, source]))
        return tuple(Moment(tuple(sources)) for _, sources in moments)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Each choice with its reason, for the run's log."""
        said = []
        for source in self.sources:
            said += [
                *(f"{reason}." for reason in source.reasons),
                *(f"{part.reason}." for part in source.parts),
            ]
            said += [f"{each.path} is left out: {each.reason}." for each in source.left_out]
            said += list(source.warnings)
        said += [f"{each.path} waits for the cold window: {each.reason}." for each in self.waiting]
        said += [f"{each.path} is optional and not stored: {each.reason}." for each in self.absent]
        said += [f"{each.path} is shared and left out here: {each.reason}." for each in self.elsewhere]
        return tuple(dict.fromkeys(said))
