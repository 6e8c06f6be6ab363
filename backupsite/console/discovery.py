"""What was found on a device: each application, the best that can be done, and whether anybody decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse

from agents.facts import DeviceFacts, Instance
from agents.facts.mounts import is_within
from backupsite.console.policy_outcome import Target
from backupsite.fleet.models import Device
from backupsite.policies.advisor import Advice, Look, advise_instance, look_at
from backupsite.policies.found import Decided, Found, find_undecided, list_found
from backupsite.policies.models import Policy, Source
from backupsite.recovery.exposure import SourceExposure, Standing
from backupsite.recovery.words import CONSISTENCIES, say_method
from backupsite.web.status import Status

UNDECIDED = Status("Nobody decided", "warn", "warn")
FILES_ONLY = Status("Only its files", "warn", "warn")
PAUSED = Status("Paused", "off", "paused")
LEFT_OUT = Status("Left out", "off", "info")


@dataclass(frozen=True)
class Way:
    """Where a button leads: a policy's form with this filled in."""

    words: str
    url: str


@dataclass(frozen=True)
class FoundInstance:
    """One instance. `sources` are those of policies that name it; `ways` lead to a decision."""

    instance: Instance
    look: Look
    advice: Advice
    status: Status
    sources: tuple[Source, ...]
    ways: tuple[Way, ...]

    @property
    def is_decided(self) -> bool:
        return self.status not in (UNDECIDED, FILES_ONLY)

    @property
    def offer(self) -> str:
        """The best that can be done while it runs, in words, "" when there is nothing."""
        best = self.look.best
        if best is None:
            return ""
        label = CONSISTENCIES[best.consistency][0].label
        return f"{say_method(best.method)}, {label[0].lower()}{label[1:]}; {best.freeze}."


def list_decided(device: Device) -> list[Source]:
    """Given a device, return every source of its policies, with them. Runs one query."""
    return list(Source.objects.filter(policy__devices=device).select_related("policy"))


def find_instances(
    device: Device, target: Target, sources: Sequence[Source], exposures: Sequence[SourceExposure]
) -> list[FoundInstance]:
    """Given a device, what is known of it, the sources of its policies and how each stands, return what was
    found on it, what nobody decided about first. Runs no query."""
    if target.facts is None:
        return []
    policies = {source.policy_id: source.policy for source in sources}
    standings: dict[str, Standing] = {}
    for exposure in exposures:
        standings[exposure.key] = max(exposure.standing, standings.get(exposure.key, Standing.WITHIN))
    found = []
    for instance in target.facts.instances:
        own = tuple(source for source in sources if source.key == instance.key)
        look = look_at(target.facts, instance)
        advice = advise_instance(look, device.criticality, target.stops.get(look.stops, ()))
        status = _judge(instance, own, sources, standings.get(instance.key))
        is_open = not own and instance.name.isprintable()
        asked = {"application": instance.application, "instance": instance.name}
        ways = tuple(_find_ways(device, asked, policies)) if is_open else ()
        found.append(FoundInstance(instance, look, advice, status, own, ways))
    return sorted(found, key=lambda each: (each.is_decided, each.instance.label))


def _judge(
    instance: Instance, own: Sequence[Source], sources: Sequence[Source], standing: Standing | None
) -> Status:
    if standing is not None:
        # A policy that names it is a promise; only a restore point makes it green.
        return standing.status
    if any(source.policy.is_enabled for source in own):
        return LEFT_OUT
    if own:
        return PAUSED
    paths = [
        each.path for each in sources if each.path and each.mode != Source.OUT and each.policy.is_enabled
    ]
    is_covered = bool(instance.places) and all(
        any(is_within(place, path) for path in paths) for place in instance.places
    )
    return FILES_ONLY if is_covered else UNDECIDED


def _find_ways(device: Device, asked: Mapping[str, str], policies: Mapping[int, Policy]) -> list[Way]:
    """Given how an address asks for something that was found, return the ways to a decision about it."""
    new = f"{reverse('policy-new')}?{urlencode({'device': device.slug, **asked})}"
    ways = [Way("Protect", new)]
    ways += [
        Way(f"Add to {policy.name}", f"{policy.get_absolute_url()}?{urlencode(asked)}")
        for policy in list(policies.values())[:2]
    ]
    out = next(iter(policies.values()), None)
    base = out.get_absolute_url() if out is not None else reverse("policy-new")
    device_part = {} if out is not None else {"device": device.slug}
    ways.append(Way("Leave out", f"{base}?{urlencode({**device_part, **asked, 'mode': Source.OUT})}"))
    return ways


def decided_paths(sources: Sequence[Source], facts: DeviceFacts | None) -> list[str]:
    """Given the sources of a device's policies, return the paths that somebody decided about: to keep them,
    or to leave them out. What an application keeps its data in is decided with it."""
    active = [source for source in sources if source.policy.is_enabled]
    keys = {source.key for source in active}
    instances = facts.instances if facts is not None else ()
    places = [place for each in instances if each.key in keys for place in each.places]
    return [*(source.path for source in active if source.path), *places]


@dataclass(frozen=True)
class OpenData:
    """What nobody decided about, and the ways to a decision."""

    found: Found
    ways: tuple[Way, ...]


def find_open_data(device: Device, sources: Sequence[Source], facts: DeviceFacts | None) -> list[OpenData]:
    """Given a device, the sources of its policies and what is known of it, return what nobody decided about:
    it keeps the device from being green. What cannot be typed into a form has no ways. Runs no query."""
    if facts is None:
        return []
    active = [source for source in sources if source.policy.is_enabled]
    policies = {source.policy_id: source.policy for source in active}
    undecided = find_undecided(
        list_found(facts), [Decided(each.key, each.path, each.mode == Source.OUT) for each in active]
    )
    return [
        OpenData(each, tuple(_find_ways(device, _asked(each), policies)) if _is_typable(each) else ())
        for each in undecided
    ]


def _asked(found: Found) -> dict[str, str]:
    """Return how an address asks a policy's form for this."""
    if not found.key:
        return {"path": found.label}
    application, _, name = found.key.partition(":")
    return {"application": application, "instance": name}


def _is_typable(found: Found) -> bool:
    return (found.key or found.label).isprintable()
