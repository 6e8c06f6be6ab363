"""What a person does to restore points: protect, hold, remove, have back. Always a whole copy: the streams of
one source that one run stored. Each leaves an audit event."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from backupsite.accounts import audit
from backupsite.fleet.devices import Actor
from backupsite.policies.naming import name_source
from backupsite.policies.retention import SHORTEST_REST
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.retiring import have_back, put_to_rest
from backupsite.recovery.retiring_history import find_needed, gather, history_of, read_points
from backupsite.recovery.stored import lock, restate

LONGEST_HOLD = timedelta(days=3660)
USUAL_REST = timedelta(days=7)


def copy_of(point: RestorePoint) -> list[RestorePoint]:
    """Given a restore point, return all of its copy. Runs one query."""
    found = RestorePoint.objects.filter(
        device=point.device_id, policy=point.policy_id, source=point.source, made_at=point.made_at
    )
    return [each for each in found.select_related("run") if history_of(each) == history_of(point)]


@transaction.atomic
def protect(actor: Actor, point: RestorePoint, *, is_wanted: bool) -> None:
    """Keep a copy for ever, or as long as the rules say again."""
    RestorePoint.objects.filter(pk__in=[each.pk for each in copy_of(point)]).update(
        is_protected=is_wanted, protected_by=actor.name[:64] if is_wanted else ""
    )
    _record(actor, "point.protect" if is_wanted else "point.unprotect", point)


@transaction.atomic
def hold_until(
    actor: Actor, point: RestorePoint, until: datetime | None, reason: str, *, now: datetime
) -> None:
    """Have nobody remove a copy before `until`; None ends that. Raise ValueError with one sentence for the
    form when the moment is over or too far away."""
    if until is not None and until <= now:
        raise ValueError("This day is over. Choose a later one.")
    if until is not None and until > now + LONGEST_HOLD:
        raise ValueError("A hold ends within ten years. What stays for ever is protected.")
    RestorePoint.objects.filter(pk__in=[each.pk for each in copy_of(point)]).update(
        held_until=until, hold_reason=reason[:200] if until is not None else ""
    )
    said = until.isoformat() if until is not None else ""
    _record(actor, "point.hold" if until is not None else "point.release", point, until=said, reason=reason)


def find_obstacle(point: RestorePoint, now: datetime) -> str:
    """Given a restore point, return why nobody may remove its copy, "" when a person may. Runs at most three
    queries."""
    if point.resting_since is not None:
        return "It was removed already, and rests."
    stored = gather(read_points(point.device_id))
    mine = next((copy for copy in stored if any(each.pk == point.pk for each in copy.points)), None)
    if mine is None:
        return "It is gone."
    if any(each.is_protected for each in mine.points):
        return "It is protected. Take the protection off first."
    if any(each.held_until is not None and each.held_until > now for each in mine.points):
        return "It is held. End the hold first."
    if needed := find_needed(point.device_id, stored).get(mine.key):
        return f"Something needs it: {needed}."
    is_saved = mine.history[-1]
    others = [copy for copy in stored if copy.history == mine.history and copy is not mine and copy.is_sound]
    if not is_saved and mine.is_sound and not others:
        return f"It is the last good restore point of {name_source(point.source)}: that one always stays."
    return ""


@transaction.atomic
def remove(actor: Actor, point: RestorePoint, *, now: datetime) -> int:
    """Have a copy rest; return how many restore points that are. Raise ValueError with one sentence when
    nobody may remove it."""
    lock([point.device_id])
    if obstacle := find_obstacle(point, now):
        raise ValueError(obstacle)
    rest = point.policy.rest if point.policy is not None else USUAL_REST
    count = put_to_rest(copy_of(point), actor.name, now, max(rest, SHORTEST_REST))
    restate([point.device_id])
    _record(actor, "point.remove", point)
    return count


@transaction.atomic
def bring_back(actor: Actor, point: RestorePoint, *, now: datetime) -> int:
    """End the rest of a copy; return how many restore points are back: none when it is too late.

    What the rules let go would go again at the next look: it is held for as long as it would have rested."""
    lock([point.device_id])
    points = copy_of(point)
    by_rules = [each.pk for each in points if each.resting_why == "policy"]
    count = have_back(points, now)
    if count:
        rest = point.policy.rest if point.policy is not None else USUAL_REST
        RestorePoint.objects.filter(pk__in=by_rules).update(
            held_until=now + max(rest, SHORTEST_REST), hold_reason=f"had back by {actor.name}"[:200]
        )
        restate([point.device_id])
        _record(actor, "point.back", point)
    return count


def _record(actor: Actor, verb: str, point: RestorePoint, **detail: str) -> None:
    subject = f"{point.source} of {point.device.name}"
    said = {"made_at": point.made_at.isoformat(), "point": str(point.pk), **detail}
    audit.record(actor.name, verb, subject, said, address=actor.address)
