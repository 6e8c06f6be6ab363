"""What a run would do with a source on a device, by what is known of the device. Pure.

The same code plans as in a run (`agents.plan`); a run reads the facts anew and decides then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agents.errors import AgentError
from agents.events import Consistency
from agents.facts import DeviceFacts, PathFact
from agents.plan import HotImpossible, PlannedSource, SourceRequest, make_plan
from backupsite.policies.advisor import Advice, advise_files, advise_instance, look_at, predict_downtime
from backupsite.policies.models import Source
from backupsite.policies.windows import COLD, HOT, is_taken_hot, may_wait, needs_window
from backupsite.recovery.backups import make_request
from backupsite.recovery.words import CONSISTENCIES, say_method
from backupsite.web.formatting import format_milliseconds
from backupsite.web.status import Tone


@dataclass(frozen=True)
class Outcome:
    """What happens to one source on some devices. `lines` say what to know or to do, `reasons` why it is so;
    `stops`: a service stands still for it."""

    tone: Tone
    headline: str
    lines: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    stops: str = ""
    waits: bool = False
    devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """A device and what is known of it. `facts` None: nothing. `stops` and `freezes` are how long something
    stood still or waited in the last runs, in milliseconds, by its name in their receipts."""

    name: str
    criticality: str
    facts: DeviceFacts | None
    stops: Mapping[str, Sequence[float]] = field(default_factory=dict)
    freezes: Mapping[str, Sequence[float]] = field(default_factory=dict)


UNKNOWN = Outcome(
    "off", "Nothing is known of it yet.", ("Check the device: then this says what would happen.",)
)


def expect(source: Source, target: Target) -> list[Outcome]:
    """Given a source, saved or not, return what a run does with it on a device, in each of its windows."""
    if source.mode == Source.OUT:
        return [Outcome("off", "In no run. It counts as decided.")]
    if target.facts is None:
        return [UNKNOWN]
    facts = _with_path(target.facts, source.path)
    said = []
    if is_taken_hot(source):
        waits = source.if_hot_impossible == Source.WAIT
        said.append(_expect(facts, make_request(source, HOT), target, waits=waits))
    if needs_window(source) and not (may_wait(source) and not said[0].waits):
        outcome = _expect(facts, make_request(source, COLD), target, waits=False)
        said.append(replace(outcome, headline=f"In the cold window: {outcome.headline}"))
    return said


def _with_path(facts: DeviceFacts, path: str) -> DeviceFacts:
    """Return the facts as if somebody had looked at the path: the check of a device looks at none."""
    if not path or facts.path(path) is not None:
        return facts
    return replace(facts, paths=(*facts.paths, PathFact(path, "directory", 0, 0, False, path)))


def _expect(facts: DeviceFacts, request: SourceRequest, target: Target, *, waits: bool) -> Outcome:
    # Asked without patience: what waits is said as such.
    asked = replace(request, if_hot_impossible="fail") if waits else request
    try:
        plan = make_plan(facts, [asked])
    except HotImpossible as error:
        if waits:
            text = f"Waits for the cold window: {error.message}."
            return Outcome("warn", text, _some(error.remedy), waits=True)
        return Outcome("bad", f"Fails: {error.message}.", _some(error.remedy))
    except AgentError as error:
        return Outcome("bad", f"Fails: {error.message}.", _some(error.remedy))
    except ValueError as error:
        return Outcome("bad", f"Fails: {error}.")
    if plan.sources:
        return _describe(plan.sources[0], target)
    ((left_out,), why) = (
        (plan.elsewhere, "it is shared") if plan.elsewhere else (plan.absent, "it is optional")
    )
    return Outcome("off", f"Left out, {why}: {left_out.reason}.")


def _describe(planned: PlannedSource, target: Target) -> Outcome:
    label = CONSISTENCIES[planned.consistency][0].label
    headline = f"{say_method(planned.method)}, {label[0].lower()}{label[1:]}."
    stops = _say_stop(planned, target)
    # What an application says about its way comes first; how its file systems are read is a reason.
    own = [] if stops else [f"{each}." for each in planned.reasons]
    left_out = [f"{each.path} is left out: {each.reason}." for each in planned.left_out]
    stopped = (f"{stops[0]} ({stops[1]}).",) if stops else ()
    lines = [*_say_freeze(planned, target), *own, *planned.warnings]
    reasons = [
        *(f"{each}." for each in planned.reasons if stops),
        *(f"{part.reason}." for part in planned.parts),
    ]
    is_weak = planned.consistency is Consistency.NONE and planned.request.application != "command"
    return Outcome(
        "warn" if is_weak or stops else "good",
        headline,
        (*stopped, *dict.fromkeys(_sentence(each) for each in lines)),
        tuple(dict.fromkeys(_sentence(each) for each in [*reasons, *left_out])),
        stops[0] if stops else "",
    )


def _say_stop(planned: PlannedSource, target: Target) -> tuple[str, str] | None:
    """Return what stands still for how long, and where that is known from; None when nothing does."""
    quiesce = planned.quiesce
    if quiesce is None or not quiesce.is_stop:
        return None
    downtime = predict_downtime(not planned.stays_stopped, target.stops.get(quiesce.label, ()))
    return f"{quiesce.label}: stopped for {downtime.short}", downtime.why


def _say_freeze(planned: PlannedSource, target: Target) -> tuple[str, ...]:
    quiesce = planned.quiesce
    measured = target.freezes.get(quiesce.label, ()) if quiesce is not None and not quiesce.is_stop else ()
    if not measured:
        return ()
    return (f"It waited {format_milliseconds(max(measured))} at most in the last {len(measured)} runs.",)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" if text[:2].islower() and " " in text[:12] else text


def _some(text: str) -> tuple[str, ...]:
    return (text,) if text else ()


def merge(outcomes: Iterable[tuple[str, Outcome]]) -> list[Outcome]:
    """Given outcomes with their devices, return each once with all devices that it is the outcome of."""
    by_outcome: dict[Outcome, list[str]] = {}
    for device, outcome in outcomes:
        by_outcome.setdefault(outcome, []).append(device)
    return [replace(outcome, devices=tuple(devices)) for outcome, devices in by_outcome.items()]


def advise(source: Source, target: Target) -> Advice | None:
    """Given a source, return what is proposed for it on a device; None when nothing is known or it decides
    itself."""
    facts = target.facts
    if facts is None or source.application == "command":
        return None
    if not source.application:
        has_services = bool(source.services)
        stops = target.stops.get(", ".join(source.services.split()), ())
        return advise_files(facts, source.path, target.criticality, has_services=has_services, stops_ms=stops)
    instance = facts.instance(source.application, source.instance)
    if instance is None:
        return None
    look = look_at(facts, instance)
    return advise_instance(look, target.criticality, target.stops.get(look.stops, ()))


def find_group_problem(sources: Sequence[Source], target: Target) -> str:
    """Return why sources that belong together cannot be held still together on a device, "" when they can, or
    when one of them fails anyway."""
    if target.facts is None:
        return ""
    hot = [source for source in sources if source.group and is_taken_hot(source)]
    facts = target.facts
    for source in hot:
        facts = _with_path(facts, source.path)
    requests = [make_request(source, HOT) for source in hot]
    if not requests:
        return ""
    try:
        alone = {warning for each in requests for warning in make_plan(facts, [each]).sources[0].warnings}
    except (AgentError, ValueError):
        return ""
    try:
        together = make_plan(facts, requests).sources
    except AgentError as error:
        return f"{target.name}: {error.message}. {error.remedy}"
    more = dict.fromkeys(text for each in together for text in each.warnings if text not in alone)
    return f"{target.name}: {' '.join(more)}" if more else ""
