"""Rows for tests of pages: devices, policies, runs, restore points."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.policies.models import Policy, PolicyDevice, Source
from backupsite.policies.source_form import DEFAULTS
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.stored import restate
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.runs.models import Run
from backupsite.runs.states import State


def source_fields(number: int = 0, **fields: str) -> dict[str, str]:
    """What a browser posts for one row of a policy's form: hot files in /srv unless it is said otherwise."""
    return {
        f"sources-{number}-{name}": value for name, value in {**DEFAULTS, "path": "/srv", **fields}.items()
    }


def make_device(name: str = "db-01", **fields: Any) -> Device:
    return Device.objects.create(name=name, slug=name, **{"address": f"{name}.example.org", **fields})


def make_policy(
    *devices: Device,
    name: str = "hourly",
    paths: tuple[str, ...] = ("/srv",),
    rpo_hours: int = 10,
    **fields: Any,
) -> Policy:
    policy = Policy.objects.create(name=name, slug=name, rpo=timedelta(hours=rpo_hours), **fields)
    for path in paths:
        Source.objects.create(policy=policy, path=path)
    for device in devices:
        PolicyDevice.objects.create(policy=policy, device=device)
    restate([device.pk for device in devices])
    return policy


def make_run(device: Device, state: State = State.SUCCEEDED, kind: str = Run.BACKUP, **fields: Any) -> Run:
    at = fields.pop("at", timezone.now())
    return Run.objects.create(
        number=Run.objects.count() + 1,
        device=device,
        kind=kind,
        state=state,
        requested_by="schedule",
        queued_at=at,
        **fields,
    )


def make_point(
    device: Device, policy: Policy | None, made_at: datetime, source: str = "/srv", **fields: Any
) -> RestorePoint:
    point = RestorePoint.objects.create(
        device=device,
        repository=repository_of(device),
        policy=policy,
        source=source,
        restic_id=uuid.uuid4().hex * 2,
        made_at=made_at,
        size_bytes=1000,
        file_count=3,
        **{"method": "btrfs snapshot", "consistency": "crash", **fields},
    )
    restate([device.pk])
    return point


def repository_of(device: Device) -> Repository:
    node, _ = Node.objects.get_or_create(slug="console", defaults={"name": "Console"})
    storage, _ = Storage.objects.get_or_create(node=node, name="main", defaults={"path": "/srv/backups"})
    made, _ = Repository.objects.get_or_create(
        device=device, defaults={"storage": storage, "sealed_password": b""}
    )
    return made
