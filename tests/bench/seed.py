"""A large console in the database of this process: 10,000 devices, 1,000,000 runs, 400,000 restore points.

The newest run and restore points of each device are made row by row; what is older is copied from them inside
of SQLite, which takes seconds where a million model objects take minutes.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from django.db import connection, models, transaction

from backupsite.fleet.models import Device, HostKey
from backupsite.policies.models import Policy, PolicyDevice, Source
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.stored import restate
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.runs.models import Counter, Run
from backupsite.runs.requests import NUMBERS
from backupsite.runs.states import State

DEVICES, RUNS_A_DEVICE, POINTS_A_SOURCE = 10_000, 100, 20
PATHS = ("/etc", "/srv")
POLICIES = 5
RPO, BETWEEN_H = timedelta(hours=26), 6
# Devices of a hundred: not protected, never backed up, too old, close to the limit; the rest is well.
UNPROTECTED, NEVER, OUTSIDE, CLOSE = 1, 1, 3, 2


def seed(now: datetime) -> None:
    """Fill an empty database. The same rows at every call."""
    chance = random.Random(7)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous=OFF")
    with transaction.atomic():
        devices = _make_devices(now)
        policies = _make_policies(devices, now)
        _make_runs(devices, policies, now, chance)
        _make_points(devices, policies, now, chance)
        restate([device.pk for device in devices])
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous=FULL")


def spoil() -> None:
    """Make the worst day of it: the newest backup of each device failed, and all restore points are old."""
    Run.objects.filter(number__gt=DEVICES * (RUNS_A_DEVICE - 1)).update(state=State.FAILED, error_text="No.")
    with connection.cursor() as cursor:
        table = RestorePoint._meta.db_table
        cursor.execute(f"UPDATE {table} SET made_at = strftime('%Y-%m-%d %H:%M:%f', made_at, '-30 hours')")
    restate(list(Device.objects.values_list("pk", flat=True)))


def _make_devices(now: datetime) -> list[Device]:
    devices = Device.objects.bulk_create(
        Device(slug=f"web-{n:05}", name=f"web-{n:05}", address=f"web-{n:05}.example.org", reached_at=now)
        for n in range(DEVICES)
    )
    HostKey.objects.bulk_create(
        HostKey(
            device=device,
            key_type="ssh-ed25519",
            blob=b"",
            fingerprint=f"SHA256:{device.pk}",
            state=HostKey.PENDING if device.pk % 1000 == 0 else HostKey.APPROVED,
        )
        for device in devices
    )
    return devices


def _make_policies(devices: list[Device], now: datetime) -> list[Policy]:
    policies = [
        Policy.objects.create(slug=f"policy-{n}", name=f"Policy {n}", rpo=RPO, every_minutes=60 * BETWEEN_H)
        for n in range(POLICIES)
    ]
    Source.objects.bulk_create(Source(policy=policy, path=path) for policy in policies for path in PATHS)
    PolicyDevice.objects.bulk_create(
        PolicyDevice(
            policy=policies[place % POLICIES],
            device=device,
            next_due=now + timedelta(hours=1, seconds=place),
            overdue_told_at=now,
            succeeded_at=now,
        )
        for place, device in enumerate(devices)
        if place % 100 >= UNPROTECTED
    )
    return policies


def _make_runs(devices: list[Device], policies: list[Policy], now: datetime, chance: random.Random) -> None:
    Run.objects.bulk_create(
        Run(
            number=DEVICES * (RUNS_A_DEVICE - 1) + place + 1,
            kind=Run.BACKUP,
            device=device,
            policy=policies[place % POLICIES],
            requested_by="schedule",
            state=State.FAILED if place % 50 == 7 else State.SUCCEEDED,
            queued_at=(began := now - timedelta(hours=BETWEEN_H * chance.random(), seconds=60)),
            started_at=began,
            ended_at=began + timedelta(seconds=40),
            freeze_ms=5 * chance.random(),
            error_text="The device did not answer." if place % 50 == 7 else "",
        )
        for place, device in enumerate(devices)
    )
    shift = "strftime('%%Y-%%m-%%d %%H:%%M:%%f', {column}, '-' || (copy * {hours}) || ' hours')"
    moved = {
        name: shift.format(column=name, hours=BETWEEN_H) for name in ("queued_at", "started_at", "ended_at")
    }
    _copy(
        Run,
        RUNS_A_DEVICE - 1,
        moved
        | {
            "id": "lower(hex(randomblob(16)))",
            "number": f"number - {DEVICES} * copy",
            "freeze_ms": "abs(random() % 5000) / 1000.0",
            "state": "CASE abs(random() % 100)"
            " WHEN 0 THEN 'failed' WHEN 1 THEN 'warnings' ELSE 'succeeded' END",
        },
    )
    Counter.objects.update_or_create(name=NUMBERS, defaults={"value": DEVICES * RUNS_A_DEVICE})


def _make_points(devices: list[Device], policies: list[Policy], now: datetime, chance: random.Random) -> None:
    node = Node.objects.create(slug="console", name="Console")
    storage = Storage.objects.create(
        node=node, name="main", path="/srv/backups", total_bytes=10**13, free_bytes=10**12
    )
    repositories = Repository.objects.bulk_create(
        Repository(device=device, storage=storage, sealed_password=b"", used_bytes=10**9, measured_at=now)
        for device in devices
    )
    RestorePoint.objects.bulk_create(_newest_points(repositories, policies, now, chance))
    shift = f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', made_at, '-' || (copy * {BETWEEN_H}) || ' hours')"
    once = {"id": "lower(hex(randomblob(16)))", "restic_id": "lower(hex(randomblob(32)))", "run_id": "NULL"}
    _copy(RestorePoint, POINTS_A_SOURCE - 1, once | {"made_at": shift})


def _newest_points(
    repositories: list[Repository], policies: list[Policy], now: datetime, chance: random.Random
) -> Iterator[RestorePoint]:
    for place, repository in enumerate(repositories):
        share = place % 100
        if share < UNPROTECTED + NEVER:
            continue
        hours = BETWEEN_H * chance.random()
        if share < UNPROTECTED + NEVER + OUTSIDE:
            hours += 26
        elif share < UNPROTECTED + NEVER + OUTSIDE + CLOSE:
            hours = 21 + 4 * chance.random()
        for path in PATHS:
            yield RestorePoint(
                device_id=repository.device_id, repository=repository, policy=policies[place % POLICIES],
                source=path, restic_id=uuid.UUID(int=chance.getrandbits(128)).hex * 2,
                made_at=now - timedelta(hours=hours), method="btrfs snapshot", consistency="crash",
                is_complete=share != 50, size_bytes=10**9, file_count=5000, stored_bytes=10**6,
            )  # fmt: skip


def _copy(model: type[models.Model], count: int, changed: Mapping[str, str]) -> None:
    """Given a model and SQL for the columns that differ, insert `count` copies of each of its rows. In that
    SQL, `copy` is the number of the copy, from 1 on."""
    table = model._meta.db_table
    columns = [str(field.column) for field in model._meta.concrete_fields]
    named = ", ".join(f'"{column}"' for column in columns)  # one is called "group"
    values = ", ".join(changed.get(column, f'"{column}"') for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE copies(copy) AS (SELECT 1 UNION ALL SELECT copy + 1 FROM copies WHERE copy < %s)"
            f" INSERT INTO {table} ({named}) SELECT {values} FROM copies CROSS JOIN {table}"
            f" ORDER BY copy DESC",  # the oldest rows first, as they came in life
            [count],
        )
