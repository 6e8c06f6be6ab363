"""Making a plan: pure, from facts, before anything is touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from agents.errors import PlanRefused, SourceMissing
from agents.facts import DeviceFacts
from agents.own_places import SCRATCH_PARENT
from agents.plan.files import HotImpossible, plan_files
from agents.plan.plan import LeftOut, Plan, PlannedSource
from agents.plan.requests import SourceRequest
from agents.plan.sources import plan_application


def make_plan(
    facts: DeviceFacts,
    sources: Sequence[SourceRequest],
    *,
    repository_path: str | None = None,
    scratch: str = f"{SCRATCH_PARENT}/.hotfleet",
) -> Plan:
    """Given facts that hold every source's path and instance, and what the policy asks, return the plan.

    `repository_path` is where the repository lies when it lies on this very device, `scratch` a directory of
    this run alone. Raise SourceMissing when a source or a mount that belongs to it is not there and it is
    neither optional nor shared, PlanRefused when the policy cannot be followed. When every source waits for
    the cold window, or is not there, the plan is empty."""
    if not sources:
        raise PlanRefused("the policy names no source", remedy="Add a source to the policy.")
    planned: list[PlannedSource] = []
    waiting: list[LeftOut] = []
    absent: list[LeftOut] = []
    elsewhere: list[LeftOut] = []
    for request in sources:
        try:
            planned.append(_plan(facts, request, repository_path, scratch))
        except HotImpossible as error:
            if request.if_hot_impossible != "wait":
                raise
            waiting.append(LeftOut(request.key, error.message))
        except SourceMissing as error:
            if request.is_shared and not _is_unreadable(facts, request):
                elsewhere.append(LeftOut(request.key, error.message))
            elif request.is_optional:
                absent.append(LeftOut(request.key, error.message))
            else:
                raise
    _check_groups(planned)
    return Plan(
        tuple(map(_warn_of_moments(planned), planned)), tuple(waiting), tuple(absent), tuple(elsewhere)
    )


def _plan(
    facts: DeviceFacts, request: SourceRequest, repository_path: str | None, scratch: str
) -> PlannedSource:
    if request.is_shared:
        _find_here(facts, request)
    if request.application:
        return plan_application(facts, request, repository_path, scratch)
    return plan_files(facts, request, repository_path)


def _find_here(facts: DeviceFacts, request: SourceRequest) -> None:
    """Raise SourceMissing when the service of a shared source does not run here.

    What it left behind here, an empty place to mount at or old files of a server, would count for every
    device as the newest of it."""
    remedy = "It is left out here and expected on another device of the policy."
    fact = facts.path(request.path) if request.path else None
    if fact is not None and fact.kind == "directory" and fact.is_empty:
        raise SourceMissing(f"{request.path} is empty here", remedy=remedy)
    instance = facts.instance(request.application, request.instance) if request.application else None
    if instance is not None and not instance.is_running:
        raise SourceMissing(f"{instance.label} does not run here", remedy=remedy)


def _is_unreadable(facts: DeviceFacts, request: SourceRequest) -> bool:
    """Return whether it may well be here: a file system that hangs or fails is no service that moved."""
    fact = facts.path(request.path) if request.path else None
    return fact is not None and fact.kind == "unreadable"


def _check_groups(planned: Sequence[PlannedSource]) -> None:
    for source in planned:
        group = source.request.group
        if not group or sum(each.request.group == group for each in planned) == 1:
            continue
        if source.streams or source.stays_stopped or any(not part.units for part in source.parts):
            raise PlanRefused(
                f"{source.key} belongs to the group {group}, and no snapshot holds it still with the others",
                remedy="Choose the method snapshot, or take it out of the group.",
            )


def _stands(source: PlannedSource) -> bool:
    return source.quiesce is not None and (source.quiesce.holds or source.quiesce.is_watch)


def _warn_of_moments(planned: Sequence[PlannedSource]) -> Callable[[PlannedSource], PlannedSource]:
    """Return what adds a warning to the sources of a group that no single instant holds.

    Volumes are taken one after the other, within milliseconds: what is not held moves between two of them."""

    def warn(source: PlannedSource) -> PlannedSource:
        group = source.request.group
        members = [each for each in planned if group and each.request.group == group]
        moving = [each for each in members if not _stands(each)]
        units = {unit for each in moving for unit in each.units}
        if len(members) < 2 or len(units) < 2 or source not in moving:
            return source
        text = (
            f"{source.key}: the group {group} lies on {len(units)} volumes, taken one after the other, "
            "and nothing holds its files still between them. Put them on one volume, or stop what writes."
        )
        return replace(source, warnings=(*source.warnings, text))

    return warn
