"""Devices that something can be restored from, and onto."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from backupsite.fleet.models import Device, HostKey
from backupsite.recovery.models import RestorePoint
from backupsite.runs.models import Run
from backupsite.runs.states import State

GOOD = (State.SUCCEEDED, State.WARNINGS)


def list_restorable() -> QuerySet[Device]:
    """Return the devices that have a restore point, however many they have."""
    return Device.objects.filter(Exists(RestorePoint.objects.filter(device=OuterRef("pk")).order_by()))


def list_targets(device: Device) -> QuerySet[Device]:
    """Given a device, return the others whose host key a person approved and whose newest check was good."""
    checks = Run.objects.filter(device=OuterRef("pk"), kind=Run.PROBE, ended_at__isnull=False)
    approved = HostKey.objects.filter(device=OuterRef("pk"), state=HostKey.APPROVED)
    reachable = Device.objects.exclude(pk=device.pk).filter(Q(reach=Device.LOCAL) | Exists(approved))
    newest = Subquery(checks.order_by("-number").values("state")[:1])
    return reachable.annotate(checked=newest).filter(checked__in=GOOD).order_by("name")
