"""Holds: nothing of a device, or of the fleet, is removed until a person says that all is well."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet
from django.urls import reverse

from backupsite.accounts import audit
from backupsite.alerts import notices
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device
from backupsite.policies.retention_doubt import LOOKED_WITHIN, Looked
from backupsite.recovery.models import RetentionHold


def open_holds(device_id: int | None) -> QuerySet[RetentionHold]:
    """Given a device, return what holds it: its own holds and those of the fleet; None: of the fleet only."""
    lasting = RetentionHold.objects.filter(lifted_at=None)
    fleet = Q(device=None)
    return lasting.filter(fleet if device_id is None else fleet | Q(device=device_id))


def is_held(device_id: int) -> bool:
    """Return whether nothing of a device may be removed. Runs one query."""
    return open_holds(device_id).exists()


@transaction.atomic
def hold(device: Device | None, cause: str, text: str, now: datetime) -> RetentionHold | None:
    """Hold the removals of a device, or of the fleet, and tell people; None when one lasts already."""
    if RetentionHold.objects.filter(device=device, cause=cause, lifted_at=None).exists():
        return None
    made = RetentionHold.objects.create(device=device, cause=cause, text=text[:400], since=now)
    where = device.name if device is not None else "the whole fleet"
    title = f"Nothing is removed of {where} until somebody looks"
    url = reverse("device-retention", args=[device.slug]) if device is not None else reverse("retention")
    notices.tell("retention-hold", f"retention-hold-{made.pk}", title, made.text, url)
    return made


@transaction.atomic
def lift(actor: Actor, held: RetentionHold, now: datetime) -> bool:
    """Have removals go on: a person looked. Return False when somebody else did."""
    lasting = RetentionHold.objects.filter(pk=held.pk, lifted_at=None)
    if not lasting.update(lifted_at=now, lifted_by=actor.name[:64]):
        return False
    name = held.device.name if held.device is not None else "the fleet"
    detail = {"cause": held.cause, "since": held.since.isoformat()}
    audit.record(actor.name, "retention.lift", name, detail, address=actor.address)
    return True


def looked_at(device_id: int, now: datetime) -> Looked:
    """Return what of a device people looked at: up to when they lifted its last hold, and from when on copies
    are compared, which is further back while a hold lasts. Runs one query."""
    held = RetentionHold.objects.filter(device=device_id, cause=RetentionHold.ANOMALY)
    rows = list(held.order_by().values_list("since", "lifted_at"))
    lifted = [lifted_at for _, lifted_at in rows if lifted_at is not None]
    lasting = [since for since, lifted_at in rows if lifted_at is None]
    return Looked(max(lifted, default=None), min([now, *lasting]) - LOOKED_WITHIN)
