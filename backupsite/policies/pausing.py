"""Pauses: of a device, of a policy, or of the fleet. Until their end no run is started by a schedule.

What becomes due during a pause stays due: after its end one run makes up for it, never a burst.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, Min, OuterRef, Q, QuerySet

from backupsite.accounts import audit
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device
from backupsite.policies.models import Pause, Policy, PolicyDevice

LONGEST = timedelta(days=90)


@dataclass(frozen=True)
class Paused:
    """Whom no schedule starts now: these devices and policies, or, when `is_fleet`, nobody at all."""

    devices: frozenset[int]
    policies: frozenset[int]
    is_fleet: bool

    def covers(self, *, device: int, policy: int | None) -> bool:
        """Return whether a run of this device by this policy has to wait."""
        return self.is_fleet or device in self.devices or policy in self.policies


def list_active(now: datetime) -> QuerySet[Pause]:
    """Return the pauses that last now."""
    return Pause.objects.filter(until__gt=now, ended_at=None)


def paused_now(now: datetime) -> Paused:
    """Given the server's time, return who is paused. Runs one query."""
    rows: list[tuple[int | None, int | None]] = [
        (pause.device_id, pause.policy_id) for pause in list_active(now).order_by()
    ]
    return Paused(
        devices=frozenset(device for device, _ in rows if device is not None),
        policies=frozenset(policy for _, policy in rows if policy is not None),
        is_fleet=any(device is policy is None for device, policy in rows),
    )


def leave_out_paused(rows: QuerySet[PolicyDevice], now: datetime) -> QuerySet[PolicyDevice]:
    """Given devices under policies, return those that no pause holds, in the same query. Any number may be
    paused: none of them takes a place in a batch."""
    of_these = Q(device=OuterRef("device_id")) | Q(policy=OuterRef("policy_id"))
    of_all = Q(device=None, policy=None)
    return rows.exclude(Exists(list_active(now).filter(of_these | of_all)))


@transaction.atomic
def pause(actor: Actor, of: Device | Policy | None, *, until: datetime, reason: str, now: datetime) -> Pause:
    """Given a device, a policy, or None for the fleet, pause it; a pause that lasts is replaced. Return it.

    Raise ValueError with one sentence for the form when `until` is not later than now, or too late.
    """
    check_end(until, now)
    began = list_of(of, now).aggregate(began=Min("made_at"))["began"]
    end_pauses(actor, of, now=now, is_told=False)
    made = Pause.objects.create(
        device=of if isinstance(of, Device) else None,
        policy=of if isinstance(of, Policy) else None,
        until=until,
        reason=reason,
        made_by=actor.name[:64],
    )
    if began is not None:
        # It is one pause without a gap: what was missed during the first part stays excused.
        Pause.objects.filter(pk=made.pk).update(made_at=began)
    detail = {"until": until.isoformat(), "reason": reason}
    audit.record(actor.name, f"{_kind_of(of)}.pause", _name_of(of), detail, address=actor.address)
    return made


def check_end(until: datetime, now: datetime) -> None:
    """Raise ValueError with one sentence when a pause may not end then."""
    if until <= now:
        raise ValueError("This moment is over. Choose a later one.")
    if until > now + LONGEST:
        raise ValueError(f"A pause ends within {LONGEST.days} days: what is longer is forgotten.")


@transaction.atomic
def end_pauses(actor: Actor, of: Device | Policy | None, *, now: datetime, is_told: bool = True) -> int:
    """End what pauses a device, a policy or the fleet; return how many pauses that were. What another pause
    covers as well stays paused."""
    count = list_of(of, now).update(ended_at=now, ended_by=actor.name[:64])
    if count and is_told:
        audit.record(actor.name, f"{_kind_of(of)}.pause-end", _name_of(of), address=actor.address)
    return count


def list_of(of: Device | Policy | None, now: datetime) -> QuerySet[Pause]:
    """Return the pauses of exactly this device or policy, or of the fleet, that last now."""
    return list_active(now).filter(
        device=of if isinstance(of, Device) else None, policy=of if isinstance(of, Policy) else None
    )


def _kind_of(of: Device | Policy | None) -> str:
    if of is None:
        return "fleet"
    return "device" if isinstance(of, Device) else "policy"


def _name_of(of: Device | Policy | None) -> str:
    return "the fleet" if of is None else of.name
