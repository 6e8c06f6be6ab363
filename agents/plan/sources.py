"""Planning a source that is an application: an instance, the method, and the snapshots below it."""

from __future__ import annotations

from dataclasses import replace

from agents.applications import Application, Ground, Offer, Patience, Recipe, applications
from agents.errors import PlanRefused, SourceMissing
from agents.events import Consistency
from agents.facts import DeviceFacts, Instance
from agents.facts.mounts import mounts_below
from agents.plan.files import (
    OWN_REASON,
    HotImpossible,
    content_patterns,
    escape_pattern,
    find_histories,
    methods_of,
    own_places,
    plan_part,
    read_alike,
    refuse_place,
    split_mounts,
    stop_services,
    trace_patterns,
    watch_services,
)
from agents.plan.plan import LeftOut, Part, PlannedSource
from agents.plan.requests import SourceRequest
from agents.snapshots import choose


def plan_application(
    facts: DeviceFacts, request: SourceRequest, repository_path: str | None, scratch: str
) -> PlannedSource:
    """Given a request for an instance, return how it is backed up. `scratch` is where its streams may write.

    Raise SourceMissing when the instance is not there, or a mount that belongs to it, HotImpossible or
    PlanRefused when it cannot be done."""
    planned = _plan_instance(facts, request, scratch)
    for path in planned.paths:
        refuse_place(facts, path, repository_path)
    own = [each for path in planned.paths for each in own_places(path, repository_path)]
    return replace(
        planned,
        excludes=(*planned.excludes, *map(escape_pattern, own)),
        left_out=(*planned.left_out, *(LeftOut(each, OWN_REASON) for each in own if each == repository_path)),
    )


def _plan_instance(facts: DeviceFacts, request: SourceRequest, scratch: str) -> PlannedSource:
    application = applications().get(request.application)
    if application is None:
        raise PlanRefused(f"no application is called {request.application!r}")
    instance = application.describe(request.instance, request.command)
    instance = instance or facts.instance(request.application, request.instance)
    if instance is None:
        raise SourceMissing(
            f"{application.label} {request.instance} was not found on the device",
            remedy="Correct the policy, or start it: what does not run is found by its files only.",
        )
    patience = Patience(request.longest_freeze_ms, request.longest_downtime_s)
    if request.mode == "cold" or not instance.is_running:
        recipe = _plan_cold(application, instance, request, facts)
        still = "stands still" if instance.is_running else "does not run"
        return _plan_recipe(facts, request, recipe, (f"{instance.label} {still} while its files are read",))
    return _plan_hot(facts, request, application, instance, patience, scratch)


def _plan_cold(
    application: Application, instance: Instance, request: SourceRequest, facts: DeviceFacts
) -> Recipe:
    """Return how it goes cold: by the services that the policy names, else by the instance's own."""
    if not request.services:
        return application.cold(instance, facts)
    if not instance.is_running:
        return replace(application.cold(instance, facts), quiesce=watch_services(request, instance))
    known = replace(instance, service=instance.service or request.services[0])
    return replace(application.cold(known, facts), quiesce=stop_services(request))


def _plan_hot(
    facts: DeviceFacts,
    request: SourceRequest,
    application: Application,
    instance: Instance,
    patience: Patience,
    scratch: str,
) -> PlannedSource:
    ground = find_ground(instance.places, facts)
    offers = application.offers(instance, ground, facts)
    wanted = [offer for offer in offers if request.method in ("", offer.method)]
    if wanted:
        recipe = application.recipe(instance, wanted[0].method, patience, scratch)
        return _plan_recipe(facts, request, recipe, _reasons(instance, wanted[0]))
    lacks = (offer.missing.rstrip(".") for offer in offers if offer.missing)
    why = "; ".join(dict.fromkeys((ground.reason, *instance.problems, *lacks)))
    if request.if_hot_impossible == "accept-live" and ground.is_atomic:
        bare = Recipe("bare", Consistency.CRASH, paths=instance.places)
        reason = f"{instance.label} is not asked to hold still: its files are as a power cut would leave them"
        return _plan_recipe(facts, request, bare, (reason,))
    method = f" by {request.method}" if request.method else ""
    raise HotImpossible(
        f"{instance.label} cannot be backed up hot{method} now ({why})",
        remedy=ground.remedy or "Look at what the device's page says about it, or plan a cold backup.",
    )


def _reasons(instance: Instance, offer: Offer) -> tuple[str, ...]:
    said = (f"{instance.label}: {offer.reason}; {offer.freeze}",)
    return (*said, offer.missing.rstrip(".")) if offer.missing else said


def _plan_recipe(
    facts: DeviceFacts, request: SourceRequest, recipe: Recipe, reasons: tuple[str, ...]
) -> PlannedSource:
    roots, left_out = _find_roots(facts, request, recipe.paths)
    parts = tuple(plan_part(facts, path, request) for path in roots)
    if recipe.quiesce is not None and (recipe.quiesce.is_stop or recipe.quiesce.is_watch):
        parts = read_alike(parts)
    is_live = any(part.consistency is Consistency.NONE for part in parts)
    if is_live and request.mode == "hot":
        raise HotImpossible(
            f"{request.key} has files on a file system without snapshots, and they move while they are read",
            remedy="Choose a method that streams, or plan a cold backup.",
        )
    history = find_histories(roots, facts)
    return PlannedSource(
        request=request,
        method=_method(recipe, parts),
        consistency=recipe.consistency,
        paths=recipe.paths,
        parts=parts,
        streams=recipe.streams,
        quiesce=recipe.quiesce,
        left_out=(*left_out, *history),
        excludes=(
            *request.excludes,
            *recipe.excludes,
            *content_patterns(left_out),
            *(escape_pattern(each.path) for each in history),
            *trace_patterns(roots, facts),
        ),
        reasons=(*reasons, *recipe.notes),
        scratch_bytes=recipe.scratch_bytes,
    )


def _find_roots(
    facts: DeviceFacts, request: SourceRequest, paths: tuple[str, ...]
) -> tuple[tuple[str, ...], list[LeftOut]]:
    """Given the paths of a recipe, return them with the file systems mounted inside, and which of those are
    left out."""
    roots: dict[str, None] = {}
    left_out: list[LeftOut] = []
    for path in paths:
        inside, without = split_mounts(facts, path, request)
        roots |= dict.fromkeys((path, *inside))
        left_out += without
    return tuple(roots), list(dict.fromkeys(left_out))


def _method(recipe: Recipe, parts: tuple[Part, ...]) -> str:
    below = methods_of(parts)
    return f"{recipe.method}+{below}" if below else recipe.method


def find_ground(places: tuple[str, ...], facts: DeviceFacts) -> Ground:
    """Given the places of an instance, return whether one snapshot holds all of them, and why not."""
    units: dict[str, None] = {}
    labels: dict[str, None] = {}
    for place in places:
        for mount in mounts_below(place, facts.mounts):
            if not mount.is_pseudo and mount.point not in places:
                return Ground(False, f"{mount.point} is a file system of its own inside of {place}")
        provider, claim, refusals = choose(place, facts)
        if claim.consistency is Consistency.NONE:
            why = "; ".join(each.reason for each in refusals) or claim.reason
            remedies = [each.remedy for each in refusals if each.remedy] or [claim.remedy]
            return Ground(False, f"{place} cannot be snapshotted: {why}", remedy=" ".join(remedies))
        units |= dict.fromkeys(provider.units(place, facts))
        labels[provider.label] = None
    if len(units) != 1:
        reason = f"its files lie on {len(units)} volumes, which no snapshot takes in one instant"
        return Ground(False, reason if units else "nobody knows where its files lie")
    return Ground(True, f"one {next(iter(labels))} holds all of its files", next(iter(labels)))
