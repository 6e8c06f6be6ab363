"""Hot, cold or both: what is proposed for a source, and why. Pure.

The seed of the choice is the needs and the tolerance of the system: how critical its device is says how much
of a stop it stands, the facts say how good a hot copy can be. Nothing is decided here: a person does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from agents.applications import Ground, Offer, applications
from agents.errors import PlanRefused
from agents.events import Consistency
from agents.facts import DeviceFacts, Instance
from agents.facts.mounts import is_within
from agents.plan import find_ground
from backupsite.fleet.models import Device
from backupsite.web.formatting import format_milliseconds

Proposal = Literal["hot", "cold", "both"]


@dataclass(frozen=True)
class Downtime:
    """How long something would stand still, and where that is known from."""

    short: str
    why: str

    def __str__(self) -> str:
        return f"{self.short} ({self.why})"


ASSUMED_STOP = Downtime(
    "about 5 s", "it stops, a snapshot is taken, it starts again; assumed, nothing was measured yet"
)
ASSUMED_COPY = Downtime(
    "seconds to minutes",
    "no snapshot holds it: it is read once while it runs, stops, and what changed since is read again; "
    "nothing was measured yet",
)


@dataclass(frozen=True)
class Look:
    """What is possible for an instance now. `stops` is what a cold copy stops, as receipts name it, "" when
    nobody knows how. `refusal` says why nothing is possible hot when there is no offer."""

    instance: Instance
    ground: Ground
    offers: tuple[Offer, ...]
    stops: str = ""
    refusal: str = ""

    @property
    def can_stop(self) -> bool:
        return bool(self.stops)

    @property
    def best(self) -> Offer | None:
        return self.offers[0] if self.offers else None


@dataclass(frozen=True)
class Advice:
    """What is proposed. `downtime`: how long a cold copy would keep it stopped, None when nothing could."""

    mode: Proposal
    reasons: tuple[str, ...]
    downtime: Downtime | None = None

    @property
    def sentence(self) -> str:
        words = {"hot": "Hot", "cold": "Cold", "both": "Hot, and cold in a quiet hour"}
        return f"{words[self.mode]}: {' '.join(self.reasons)}"


def look_at(facts: DeviceFacts, instance: Instance) -> Look:
    """Given an instance of a device, return what can be done with it. Asks its plug-in, not the device."""
    application = applications().get(instance.application)
    if application is None:
        refusal = f"This console does not know {instance.application} any more."
        return Look(instance, Ground(False, refusal), (), "", refusal)
    try:
        ground = find_ground(instance.places, facts)
    except PlanRefused as error:
        ground = Ground(False, error.message, remedy=error.remedy)
    offers = application.offers(instance, ground, facts) if instance.is_running else ()
    try:
        quiesce = application.cold(instance, facts).quiesce
    except PlanRefused:
        quiesce = None
    refusal = "" if offers else _say_refusal(ground, instance)
    # What stands already is only watched.
    stops = quiesce.label if quiesce is not None and quiesce.is_stop else ""
    return Look(instance, ground, offers, stops, refusal)


def _say_refusal(ground: Ground, instance: Instance) -> str:
    """Return why nothing hot is possible. Where its files lie is no reason when they can be snapshotted."""
    reasons = [*([] if ground.is_atomic else [ground.reason]), *instance.problems]
    return "; ".join(dict.fromkeys(reasons)) or "It did not say enough of itself when it was looked at."


def advise_instance(look: Look, criticality: str, stops_ms: Sequence[float] = ()) -> Advice:
    """Given what is possible for an instance, how critical its device is and how long earlier stops took,
    return what is proposed."""
    downtime = predict_downtime(look.ground.is_atomic, stops_ms) if look.can_stop else None
    if not look.instance.is_running:
        reason = "it does not run now, so its files are copied as they lie; nothing is stopped."
        return Advice("hot", (reason,))
    best = look.best
    if best is None:
        return _advise_without_offer(look, criticality, downtime)
    if best.consistency is Consistency.APPLICATION:
        reason = "it makes a clean copy while it runs."
        return Advice("hot", (reason, *_say_no_need(criticality)), downtime)
    return _advise_for_less(look, best, criticality, downtime)


def _say_no_need(criticality: str) -> tuple[str, ...]:
    is_strict = criticality in (Device.HIGH, Device.CRITICAL)
    return ("Its device is too critical to stop, and nothing has to.",) if is_strict else ()


def _advise_without_offer(look: Look, criticality: str, downtime: Downtime | None) -> Advice:
    why = "no hot method works now."
    if downtime is None:
        return Advice("hot", (why, "Nobody knows how to stop it either: mend this first."))
    if criticality == Device.CRITICAL:
        return Advice("hot", (why, "But its device must never stop: mend this first."), downtime)
    return Advice("cold", (why, f"Stopped for {downtime.short}."), downtime)


def _advise_for_less(look: Look, best: Offer, criticality: str, downtime: Downtime | None) -> Advice:
    """The best hot copy is as after a power cut, or less."""
    hot = f"a hot copy is only {best.consistency}-consistent."
    if criticality == Device.CRITICAL or downtime is None:
        why = "its device must never stop" if look.can_stop else "nobody knows how to stop it"
        return Advice("hot", (hot, f"But {why}.", *((best.missing,) if best.missing else ())), downtime)
    if criticality == Device.LOW:
        return Advice("cold", (hot, f"It may stop: for {downtime.short}."), downtime)
    return Advice(
        "both",
        (hot, f"A cold copy is the clean one to fall back to. Stopped for {downtime.short}."),
        downtime,
    )


def advise_files(
    facts: DeviceFacts,
    path: str,
    criticality: str,
    *,
    has_services: bool = False,
    stops_ms: Sequence[float] = (),
) -> Advice:
    """Given a path and whether somebody named the services that write there, return what is proposed."""
    inside = [each for each in facts.instances if any(is_within(place, path) for place in each.places)]
    if inside:
        names = ", ".join(each.label for each in inside[:3])
        reason = f"{names} keeps its data in it. Protect that by itself: its files alone are no clean copy."
        return Advice("hot", (reason,))
    try:
        ground = find_ground((path,), facts)
    except PlanRefused as error:
        return Advice("hot", (f"{error.message}.",))
    if ground.is_atomic:
        return Advice("hot", (f"a snapshot holds it ({ground.reason}); nothing is stopped.",))
    if has_services and criticality in (Device.LOW, Device.NORMAL):
        downtime = predict_downtime(False, stops_ms)
        return Advice("cold", (f"{ground.reason}.", f"Stopped for {downtime.short}."), downtime)
    return Advice("hot", (f"{ground.reason}, so live files are read, and labelled so.", ground.remedy))


def predict_downtime(is_atomic: bool, stops_ms: Sequence[float]) -> Downtime:
    """Given whether one snapshot holds it all, and how long earlier stops took, return what to expect."""
    if stops_ms:
        times = "time" if len(stops_ms) == 1 else f"{len(stops_ms)} times"
        return Downtime(f"up to {format_milliseconds(max(stops_ms))}", f"as measured the last {times}")
    return ASSUMED_STOP if is_atomic else ASSUMED_COPY
