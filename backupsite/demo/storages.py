"""Where the demo's restore points would be, how full that is, and what checks found."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from backupsite.demo.fates import DAY, HOUR, Fate, fate_of
from backupsite.demo.machines import Machine
from backupsite.fleet.models import Device
from backupsite.repositories.console_recovery import write_new_marker
from backupsite.repositories.models import Node, RecoveryPassword, Repository, SpaceSample, Storage

TB = 1024**4
_SAMPLES = 90
_MOST_SAMPLED = 500


@dataclass
class Storages:
    """The disks beside the console, and the bucket of the second copies."""

    first: Storage
    second: Storage


def make_storages(now: datetime, folder: Path) -> Storages:
    """Return two storages, stored; the first one in an empty folder. The kit was printed."""
    node, _ = Node.objects.get_or_create(slug="console", defaults={"name": "Console"})
    RecoveryPassword.objects.create(
        sealed_password=b"", fingerprint="demo0000", kit_downloaded_at=now, kit_confirmed_at=now
    )
    first = Storage.objects.create(
        node=node,
        name="Backup disks",
        path=str(folder),
        marker=write_new_marker(folder),
        is_default=True,
        total_bytes=60 * TB,
        free_bytes=21 * TB,
        tested_at=now - HOUR,
    )
    second = Storage.objects.create(
        node=node,
        name="Second site",
        kind=Storage.S3,
        path="s3://hotfleet-copies/fleet",
        bucket="hotfleet-copies",
        prefix="fleet",
        region="eu-central-1",
        account="demo",
        reading_costs=True,
        quota_bytes=80 * TB,
        tested_at=now - HOUR,
    )
    return Storages(first, second)


def make_repositories(
    devices: list[Device], machines: list[Machine], storages: Storages, now: datetime
) -> list[Repository]:
    """Return a repository for each machine, stored, with their second copies."""
    first = Repository.objects.bulk_create(
        (
            _make_repository(device, machine, storages, now)
            for device, machine in zip(devices, machines, strict=True)
        ),
        2000,
    )
    Repository.objects.bulk_create(
        (
            Repository(
                copy_of=repository,
                storage=storages.second,
                sealed_password=b"",
                restic_id=f"{2**200 + place:064x}",
                used_bytes=repository.used_bytes * 7 // 10,
                measured_at=now - HOUR,
                copied_at=now - 5 * HOUR,
                structure_checked_at=now - 2 * DAY,
                read_at=now - DAY,
                reading=_read(repository.used_bytes * 7 // 10),
            )
            for place, (repository, machine) in enumerate(zip(first, machines, strict=True))
            if machine.role.criticality != "low"
        ),
        2000,
    )
    return first


def _make_repository(device: Device, machine: Machine, storages: Storages, now: datetime) -> Repository:
    used = sum(int(data.size_bytes * machine.scale * 0.62) for data in machine.role.sources)
    is_hurt = fate_of(machine) is Fate.DAMAGED
    return Repository(
        device=device,
        storage=storages.first,
        sealed_password=b"",
        restic_id=f"{2**220 + machine.place:064x}",
        used_bytes=used,
        measured_at=now - HOUR,
        structure_checked_at=now - 7 * HOUR,
        read_at=now - 7 * HOUR,
        pruned_at=now - 3 * DAY,
        reading=_read(used),
        damaged_at=now - 7 * HOUR if is_hurt else None,
        damage="data/4f1c…: its content is not what was stored" if is_hurt else "",
    )


def _read(total: int) -> dict[str, object]:
    share = total // 30
    return {
        "files": total // 16_000_000,
        "total_bytes": total,
        "unread_bytes": 0,
        "ages": [share] * 30 + [0],
        "read_files": share // 16_000_000,
        "read_bytes": share,
        "is_whole": True,
    }


def store_space(storages: Storages, repositories: list[Repository], now: datetime) -> None:
    """Store how full it was on each of the last days."""
    chance, total = random.Random(5), 60 * TB
    for day in range(_SAMPLES):
        used = int(39 * TB - day * 0.11 * TB + chance.uniform(-0.2, 0.2) * TB)
        SpaceSample.objects.create(
            storage=storages.first,
            day=(now - timedelta(days=day)).date(),
            used_bytes=used,
            free_bytes=total - used,
        )
        SpaceSample.objects.create(
            storage=storages.second, day=(now - timedelta(days=day)).date(), used_bytes=used * 7 // 10
        )
    SpaceSample.objects.bulk_create(
        SpaceSample(
            storage=storages.first,
            repository=repository,
            day=(now - timedelta(days=day)).date(),
            used_bytes=int(repository.used_bytes * (1 - 0.002 * day)),
        )
        for repository in repositories[:_MOST_SAMPLED]
        for day in range(0, _SAMPLES, 3)
    )
