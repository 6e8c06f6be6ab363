"""Planning a source that is files: its path, the mounts inside of it, and how each part is read."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import replace

from agents.applications.recipes import Quiesce
from agents.applications.services import stop_around, watch_standing
from agents.errors import PlanRefused, SourceMissing
from agents.events import Consistency
from agents.facts import DeviceFacts, Instance, Mount, PathFact
from agents.facts.mounts import KERNEL_KINDS, NETWORK_KINDS, find_mount, is_within, mounts_below
from agents.own_places import OWN_PLACES, SCRATCH_PARENT
from agents.plan.plan import LeftOut, Part, PlannedSource
from agents.plan.requests import SourceRequest
from agents.snapshots import choose
from agents.snapshots.btrfs import find_history, visible_tops
from agents.snapshots.traces import TRACE_PATTERN

OWN_REASON = "it holds the repository or Hotfleet's own files"
# restic keeps packs here until they are sent, in files without a name: a bind would make that read-only.
_TEMPORARY = "/tmp"  # noqa: S108 - only compared
_PACKS_BYTES = 160 << 20


class HotImpossible(PlanRefused):
    """No snapshot holds this part, and the policy accepts nothing less."""


def escape_pattern(path: str) -> str:
    """Given a path, return the pattern of restic that matches only it (filepath.Match of Go)."""
    return "".join("\\" + letter if letter in "*?[\\" else letter for letter in path)


def plan_files(facts: DeviceFacts, request: SourceRequest, repository_path: str | None) -> PlannedSource:
    """Given a request for files, return how they are read. Raise SourceMissing, PlanRefused or
    HotImpossible."""
    real = _find_real_path(facts, request)
    refuse_place(facts, real, repository_path)
    inside, left_out = split_mounts(facts, real, request)
    roots = (real, *inside)
    parts = tuple(plan_part(facts, path, request) for path in roots)
    own = own_places(real, repository_path)
    left_out += [LeftOut(path, OWN_REASON) for path in own if path == repository_path]
    history = find_histories(roots, facts)
    left_out += history
    unseen = [*own, *(each.path for each in history)]
    excludes = (
        *request.excludes,
        *content_patterns(each for each in left_out if each.path not in unseen),
        *(escape_pattern(path) for path in unseen),
        *trace_patterns(roots, facts),
    )
    fact = _require_fact(facts, request.path)
    warnings = (f"{request.path} is empty.",) if fact.is_empty else ()
    planned = PlannedSource(
        request=request,
        method=methods_of(parts),
        consistency=worst(parts),
        paths=(request.path,),
        parts=parts,
        left_out=tuple(left_out),
        excludes=excludes,
        warnings=warnings,
        scratch_bytes=_PACKS_BYTES if is_within(_TEMPORARY, real) else 0,
    )
    return planned if request.mode == "hot" else _make_cold(planned)


def _make_cold(planned: PlannedSource) -> PlannedSource:
    """A cold source of files is as consistent as what its services left behind when they stopped."""
    services = planned.request.services
    if not services:
        raise PlanRefused(
            f"{planned.key} is to be backed up cold, and the policy names no service to stop meanwhile",
            remedy="Name the services in the policy, or back it up hot.",
        )
    quiesce = stop_services(planned.request)
    parts = read_alike(planned.parts)
    return replace(
        planned,
        method=f"cold+{methods_of(parts)}",
        consistency=Consistency.APPLICATION,
        parts=parts,
        quiesce=quiesce,
        reasons=(f"{', '.join(services)} stands still while {planned.key} is read",),
    )


def stop_services(request: SourceRequest) -> Quiesce:
    """Return what stops the services that the policy names. Raise PlanRefused when a name can be none."""
    try:
        return stop_around(request.services)
    except ValueError as error:
        raise _refuse_name(request, error) from error


def watch_services(request: SourceRequest, instance: Instance) -> Quiesce:
    """Return what watches an instance that does not run, and the services that the policy names. Raise
    PlanRefused when a name can be none."""
    try:
        return watch_standing(instance.label, instance.service, request.services, instance.places)
    except ValueError as error:
        raise _refuse_name(request, error) from error


def _refuse_name(request: SourceRequest, error: ValueError) -> PlanRefused:
    return PlanRefused(
        f"{request.key}: {error}", remedy="Write each service in the policy as the device names it."
    )


def methods_of(parts: tuple[Part, ...]) -> str:
    """Return the names of the methods by which parts are read, each once."""
    return "+".join(dict.fromkeys(part.method for part in parts))


def worst(parts: tuple[Part, ...]) -> Consistency:
    """The consistency of a source is that of its worst part."""
    return max((part.consistency for part in parts), key=list(Consistency).index)


def find_histories(roots: tuple[str, ...], facts: DeviceFacts) -> list[LeftOut]:
    """Given real paths, return the read-only snapshots below them, which are no source."""
    history = [path for root in roots for path in find_history(root, facts)]
    return [LeftOut(path, "it is a read-only snapshot, history of the device") for path in history]


def trace_patterns(roots: tuple[str, ...], facts: DeviceFacts) -> tuple[str, ...]:
    """Given real paths, return the patterns that leave out what runs make there meanwhile."""
    places = (*visible_tops(facts), *facts.reflinks, SCRATCH_PARENT)
    tops = [top for top in places if any(is_within(top, root) for root in roots)]
    return tuple(f"{escape_pattern(top.rstrip('/'))}/{TRACE_PATTERN}" for top in tops)


def content_patterns(left_out: Iterable[LeftOut]) -> tuple[str, ...]:
    """Given what is left out, return the patterns that match what is in it, not itself."""
    return tuple(f"{escape_pattern(each.path.rstrip('/'))}/*" for each in left_out)


def read_alike(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Given the parts of what stands still, return how they are read: all from snapshots, or none.

    Where one part knows no snapshot, everything stands still until it is stored: no other needs one."""
    if all(part.units for part in parts):
        return parts
    why = "is read while its services stand still, since not all of its source can be snapshotted"
    return tuple(
        Part(part.path, "live", Consistency.NONE, f"{part.path} {why}") if part.units else part
        for part in parts
    )


def plan_part(facts: DeviceFacts, path: str, request: SourceRequest) -> Part:
    """Given a real path, return the best way to read it. Raise HotImpossible when the policy wants a
    better."""
    provider, claim, refusals = choose(path, facts, is_stopped=request.mode == "cold")
    is_live = claim.consistency is Consistency.NONE
    if is_live and request.mode == "hot" and request.if_hot_impossible != "accept-live":
        remedies = [each.remedy for each in refusals if each.remedy] or [claim.remedy]
        raise HotImpossible(
            f"{path} cannot be snapshotted ({'; '.join(each.reason for each in refusals)}), "
            "and the policy does not accept live files",
            remedy=" ".join(remedies) + " Or let the policy accept live files.",
        )
    why = f"{claim.reason} ({'; '.join(each.reason for each in refusals)})" if refusals else claim.reason
    return Part(path, provider.name, claim.consistency, why, provider.units(path, facts))


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
    if kind in KERNEL_KINDS:
        raise PlanRefused(f"{path} is on {kind}: the kernel shows it, there is nothing to store")
    return fact.resolved


def own_places(real: str, repository_path: str | None) -> list[str]:
    """Return what lies in a real path and is ours: never part of a backup."""
    return [each for each in (*OWN_PLACES, repository_path or "") if each and is_within(each, real)]


def refuse_place(facts: DeviceFacts, real: str, repository_path: str | None) -> None:
    """Raise PlanRefused when a real path belongs to Hotfleet itself or lies in the repository, SourceMissing
    when a mount is not there that belongs to it."""
    _refuse_recursion(real, repository_path)
    _refuse_absent_mounts(facts, real)


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


def split_mounts(
    facts: DeviceFacts, real: str, request: SourceRequest
) -> tuple[tuple[str, ...], list[LeftOut]]:
    """Mounts inside of a source vanish under its bind: return which become parts of their own, and what is
    left out."""
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
        return OWN_REASON
    if mount.is_pseudo:
        return f"{mount.kind} holds nothing that survives a restart"
    if mount.is_network:
        return f"{mount.kind} is another machine's data: back it up there, or name it as a source"
    if mount.is_apart:
        return f"{mount.kind} is what a program shows: back up what is behind it, or name it as a source"
    return None
