"""The plan of a backup: pure, made from facts before anything is touched. Each choice carries its reason."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.errors import PlanRefused, SourceMissing
from agents.events import Consistency
from agents.facts import DeviceFacts, Mount, PathFact
from agents.facts.mounts import NETWORK_KINDS, find_mount, is_within, mounts_below
from agents.snapshots import choose
from agents.snapshots.btrfs import find_history, visible_tops
from agents.snapshots.traces import TRACE_PATTERN

# Ours on the device: never part of a backup.
OWN_PLACES = ("/run/hotfleet", "/dev/shm/hotfleet", "/var/cache/hotfleet")  # noqa: S108 - read, never made here
# Nobody can mean these as a source; tmpfs or overlay somebody can.
_NO_FILES = frozenset(
    {"proc", "sysfs", "cgroup", "cgroup2", "devpts", "securityfs", "debugfs", "tracefs", "bpf"}
)


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """A source as the policy says it. `excludes` are patterns of restic."""

    path: str
    excludes: tuple[str, ...] = ()
    mode: Literal["hot"] = "hot"
    if_hot_impossible: Literal["fail", "accept-live"] = "fail"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a source on one file system, and how it is read. `path` has no symbolic links."""

    path: str
    method: str
    consistency: Consistency
    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something inside of a source that is not stored, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlannedSource:
    """One source: its parts, outermost first. `excludes` hold the policy's patterns and ours."""

    path: str
    parts: tuple[Part, ...]
    left_out: tuple[LeftOut, ...]
    excludes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def consistency(self) -> Consistency:
        """The worst of its parts."""
        return max((part.consistency for part in self.parts), key=list(Consistency).index)

    @property
    def methods(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.method for part in self.parts))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do."""

    sources: tuple[PlannedSource, ...]

    def paths_by_method(self) -> dict[str, tuple[str, ...]]:
        """Return which real paths each provider takes, once each."""
        grouped: dict[str, dict[str, None]] = {}
        for source in self.sources:
            for part in source.parts:
                grouped.setdefault(part.method, {})[part.path] = None
        return {method: tuple(paths) for method, paths in grouped.items()}

    @property
    def sentences(self) -> tuple[str, ...]:
        """Each choice with its reason, for the run's log."""
        said = []
        for source in self.sources:
            said += [f"{part.reason}." for part in source.parts]
            said += [f"{each.path} is left out: {each.reason}." for each in source.left_out]
            said += list(source.warnings)
        return tuple(dict.fromkeys(said))


def make_plan(
    facts: DeviceFacts, sources: Sequence[SourceRequest], *, repository_path: str | None = None
) -> Plan:
    """Given facts that hold every source's path and what the policy asks, return the plan.

    `repository_path` is where the repository lies when it lies on this very device. Raise SourceMissing when
    a source or a mount that belongs to it is not there, PlanRefused when the policy cannot be followed."""
    if not sources:
        raise PlanRefused("the policy names no source", remedy="Add a path to the policy.")
    return Plan(tuple(_plan_source(facts, source, repository_path) for source in sources))


def escape_pattern(path: str) -> str:
    """Given a path, return the pattern of restic that matches only it (filepath.Match of Go)."""
    return "".join("\\" + letter if letter in "*?[\\" else letter for letter in path)


def _plan_source(facts: DeviceFacts, request: SourceRequest, repository_path: str | None) -> PlannedSource:
    real = _find_real_path(facts, request)
    _refuse_recursion(real, repository_path)
    _refuse_absent_mounts(facts, real)
    inside, left_out = _split_mounts(facts, real, request)
    parts = tuple(_plan_part(facts, path, request) for path in (real, *inside))
    own = [each for each in (*OWN_PLACES, repository_path or "") if each and is_within(each, real)]
    reason = "it holds the repository or Hotfleet's own files"
    left_out += [LeftOut(path, reason) for path in own if path == repository_path]
    history = [path for part in (real, *inside) for path in find_history(part, facts)]
    left_out += [LeftOut(path, "it is a read-only snapshot, history of the device") for path in history]
    unseen = [*own, *history]
    traces = [top for top in visible_tops(facts) if is_within(top, real)]
    excludes = (
        *request.excludes,
        *(f"{escape_pattern(each.path.rstrip('/'))}/*" for each in left_out if each.path not in unseen),
        *(escape_pattern(path) for path in unseen),
        *(f"{escape_pattern(top.rstrip('/'))}/{TRACE_PATTERN}" for top in traces),
    )
    fact = _require_fact(facts, request.path)
    warnings = (f"{request.path} is empty.",) if fact.is_empty else ()
    return PlannedSource(request.path, parts, tuple(left_out), excludes, warnings)


def _plan_part(facts: DeviceFacts, path: str, request: SourceRequest) -> Part:
    provider, claim, refusals = choose(path, facts)
    if claim.consistency is Consistency.NONE and request.if_hot_impossible == "fail":
        remedies = [each.remedy for each in refusals if each.remedy] or [claim.remedy]
        raise PlanRefused(
            f"{path} cannot be snapshotted ({'; '.join(each.reason for each in refusals)}), "
            "and the policy does not accept live files",
            remedy=" ".join(remedies) + " Or let the policy accept live files.",
        )
    why = f"{claim.reason} ({'; '.join(each.reason for each in refusals)})" if refusals else claim.reason
    return Part(path, provider.name, claim.consistency, why)


def _require_fact(facts: DeviceFacts, path: str) -> PathFact:
    fact = facts.path(path)
    if fact is None:
        raise PlanRefused(f"nothing was read about {path}", remedy="Read the facts for this policy again.")
    return fact


def _find_real_path(facts: DeviceFacts, request: SourceRequest) -> str:
    path = request.path
    if not path.startswith("/") or posixpath.normpath(path) != path or path.startswith("//"):
        raise PlanRefused(f"{path!r} is not a plain absolute path", remedy="Write it without // or ..")
    fact = _require_fact(facts, path)
    if fact.kind == "missing":
        raise SourceMissing(
            f"{path} does not exist on the device", remedy="Correct the policy or the device."
        )
    if fact.kind == "unreadable":
        raise SourceMissing(f"{path} cannot be read on the device", remedy="Look at its file system.")
    if fact.kind == "link":
        raise PlanRefused(
            f"{path} is a symbolic link to {fact.resolved}", remedy=f"Name {fact.resolved} in the policy."
        )
    if fact.kind == "other":
        raise PlanRefused(f"{path} is neither a directory nor a file")
    kind = find_mount(fact.resolved, facts.mounts).kind
    if kind in _NO_FILES:
        raise PlanRefused(f"{path} is on {kind}: the kernel shows it, there is nothing to store")
    return fact.resolved


def _refuse_recursion(real: str, repository_path: str | None) -> None:
    for place in OWN_PLACES:
        if is_within(real, place):
            raise PlanRefused(f"{real} belongs to Hotfleet itself")
    if repository_path is not None and is_within(real, repository_path):
        raise PlanRefused(f"{real} is the repository that it would be stored in")


def _refuse_absent_mounts(facts: DeviceFacts, real: str) -> None:
    present = {mount.point for mount in facts.mounts}
    for expected in facts.expected_mounts:
        belongs = is_within(real, expected.point) or (
            is_within(expected.point, real)
            and expected.kind not in NETWORK_KINDS | {"tmpfs", "proc", "sysfs"}
        )
        if belongs and expected.point not in present:
            raise SourceMissing(
                f"{expected.point} should be mounted (/etc/fstab) but is not: {real} would lack it",
                remedy=f"Run `mount {expected.point}` on the device, or correct its /etc/fstab.",
            )


def _split_mounts(
    facts: DeviceFacts, real: str, request: SourceRequest
) -> tuple[tuple[str, ...], list[LeftOut]]:
    """Mounts inside of a source vanish under its bind: each becomes a part of its own, or is left out."""
    inside: list[str] = []
    left_out: list[LeftOut] = []
    for mount in sorted(mounts_below(real, facts.mounts), key=lambda each: each.point):
        if any(is_within(mount.point, each.path) for each in left_out):
            continue
        reason = _why_left_out(mount, request)
        if reason is None:
            inside.append(mount.point)
        else:
            left_out.append(LeftOut(mount.point, reason))
    return tuple(inside), left_out


def _why_left_out(mount: Mount, request: SourceRequest) -> str | None:
    if any(is_within(mount.point, exclude.rstrip("/")) for exclude in request.excludes if exclude[:1] == "/"):
        return "the policy excludes it"
    if any(is_within(mount.point, place) for place in OWN_PLACES):
        return "it holds the repository or Hotfleet's own files"
    if mount.is_pseudo:
        return f"{mount.kind} holds nothing that survives a restart"
    if mount.is_network or mount.kind.startswith("fuse."):
        return f"{mount.kind} is another machine's data: back it up there, or name it as a source"
    return None
