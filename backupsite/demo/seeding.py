"""Fills an empty database with the demo's fleet, as of now. The same at every call, but for the time."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from pathlib import Path

from django.db import models, transaction

from agents.facts import to_json
from backupsite.demo.backups import Backups, Place, list_details, make_backups
from backupsite.demo.facts import make_facts
from backupsite.demo.fates import DAY, HOUR, Fate, fate_of
from backupsite.demo.machines import ROLES, SITES, Machine, Role, list_machines
from backupsite.demo.proofs import make_drills
from backupsite.demo.storages import Storages, make_repositories, make_storages, store_space
from backupsite.fleet.models import Device, HostKey, SshKey, Tag
from backupsite.policies.found import write_found
from backupsite.policies.models import Pause, Policy, PolicyDevice, Source
from backupsite.recovery.stored import restate
from backupsite.runs.models import Counter, Run
from backupsite.runs.requests import NUMBERS
from backupsite.runs.states import State

_DETAILED = 150
_BATCH = 2000


def seed(now: datetime, count: int, folder: Path, days: int) -> None:
    """Fill an empty database with so many machines and the `days` behind them; `folder` is where their
    repositories would lie. Raise IntegrityError when it is not empty."""
    dense, whole = days / 5 * DAY, days * DAY
    with transaction.atomic():
        tags = {name: Tag.objects.create(name=name, is_site=name in SITES) for name in _tag_names()}
        storages = make_storages(now, folder)
        policies = {role.tag: _make_policy(role, tags, storages) for role in ROLES}
        machines = list(list_machines(count))
        devices = _make_devices(machines, tags, now)
        repositories = make_repositories(devices, machines, storages, now)
        places = [
            Place(machine, device, policies[machine.role.tag], repository)
            for machine, device, repository in zip(machines, devices, repositories, strict=True)
        ]
        made = [make_backups(place, now, dense=dense, whole=whole) for place in places]
        _store_backups(places, made, now)
        _assign(places, made, now)
        make_drills(places, made, now)
        store_space(storages, repositories, now)
        _pause(places, now)
        restate([device.pk for device in devices])


def _tag_names() -> list[str]:
    return [*SITES, *(role.tag for role in ROLES)]


def _make_policy(role: Role, tags: dict[str, Tag], storages: Storages) -> Policy:
    times = {"at_time": time(1, 30)} if role.fields["schedule"] == "daily" else {}
    policy = Policy.objects.create(
        slug=role.tag,
        name=role.policy,
        rpo=role.rpo,
        rto=4 * HOUR,
        time_zone="Europe/Berlin",
        copy_storage=storages.second if role.criticality != "low" else None,
        copy_keep=90 * DAY,
        **role.fields,
        **times,
    )
    policy.tags.add(tags[role.tag])
    Source.objects.bulk_create(
        Source(policy=policy, path=data.path, application=data.application, instance=data.instance)
        for data in role.sources
    )
    return policy


def _make_devices(machines: list[Machine], tags: dict[str, Tag], now: datetime) -> list[Device]:
    key = SshKey.objects.create(name="console", public_line="ssh-ed25519 (demo)", sealed_private_key=b"")
    devices = Device.objects.bulk_create((_make_device(each, key, now) for each in machines), _BATCH)
    through = Device.tags.through
    through._default_manager.bulk_create(
        (
            through(device_id=device.pk, tag_id=tags[name].pk)
            for machine, device in zip(machines, devices, strict=True)
            for name in (machine.site, machine.role.tag)
            if name == machine.site or fate_of(machine) is not Fate.UNPROTECTED
        ),
        _BATCH,
    )
    HostKey.objects.bulk_create(_list_host_keys(machines, devices, now), _BATCH)
    return devices


def _make_device(machine: Machine, key: SshKey, now: datetime) -> Device:
    has_surprise = fate_of(machine) is Fate.UNDECIDED
    facts = make_facts(machine, int(now.timestamp()), has_surprise=has_surprise)
    return Device(
        # ".example" never leads anywhere (RFC 2606): a demo reaches nobody.
        slug=machine.name,
        name=machine.name,
        address=f"{machine.name}.example",
        ssh_key=key,
        criticality=machine.role.criticality,
        is_always_on=machine.role.tag != "laptop",
        facts=to_json(facts),
        found=write_found(facts),
        facts_at=now - 3 * HOUR,
        reached_at=now - HOUR,
    )


def _list_host_keys(machines: list[Machine], devices: list[Device], now: datetime) -> Iterable[HostKey]:
    for machine, device in zip(machines, devices, strict=True):
        names = ["approved"] if fate_of(machine) is not Fate.NEW_KEY else ["approved", "pending"]
        for state in names:
            mark = random.Random(f"{machine.name} {state}").getrandbits(256)
            yield HostKey(
                device=device,
                key_type="ssh-ed25519",
                blob=b"",
                fingerprint=f"SHA256:{mark:064x}"[:50],
                state=state,
                decided_at=now if state == HostKey.APPROVED else None,
                decided_by="demo",
            )


def _store_backups(places: list[Place], made: list[Backups], now: datetime) -> None:
    """Store runs, oldest first, numbered in their order, and restore points."""
    runs = sorted((run for each in made for run in each.runs), key=lambda run: run.queued_at)
    runs += _list_unfinished(places, now)
    for number, run in enumerate(runs, 1):
        run.number = number
    _store(runs)
    Counter.objects.create(name=NUMBERS, value=len(runs))
    _store(point for each in made for point in each.points)
    details = itertools.chain.from_iterable(
        list_details(each.runs[0], place)
        for place, each in zip(places[:_DETAILED], made, strict=False)
        if each.runs
    )
    by_model: dict[type[models.Model], list[models.Model]] = {}
    for row in details:
        by_model.setdefault(type(row), []).append(row)
    for rows in by_model.values():
        _store(rows)


def _list_unfinished(places: list[Place], now: datetime) -> list[Run]:
    """What runs and waits now: the first backup of a new machine, some others, and two behind them."""
    fresh = [place for place in places if fate_of(place.machine) is Fate.NEVER]
    others = [place for place in places if fate_of(place.machine) is Fate.WELL and not place.machine.is_dense]
    working = [(place, 0.37) for place in fresh[:2]] + [(place, 0.82) for place in others[:2]]
    return [
        *(_make_running(place, share, now) for place, share in working),
        *(
            Run(
                kind=Run.BACKUP,
                device=place.device,
                policy=place.policy,
                requested_by="schedule",
                state=State.QUEUED,
                queued_at=now - timedelta(seconds=20),
                place=now,
            )
            for place in others[2:4]
        ),
    ]


def _make_running(place: Place, share: float, now: datetime) -> Run:
    size = sum(int(data.size_bytes * place.machine.scale) for data in place.machine.role.sources)
    files = sum(data.files for data in place.machine.role.sources)
    began = now - timedelta(minutes=1 + 9 * share)
    return Run(
        kind=Run.BACKUP,
        device=place.device,
        policy=place.policy,
        requested_by="schedule",
        state=State.RUNNING,
        phase="transfer",
        queued_at=began,
        place=began,
        started_at=began,
        bytes_done=int(size * share),
        bytes_total=size,
        files_done=int(files * share),
        files_total=files,
        stored_bytes=int(size * share * 0.4),
        lease_until=now + 365 * DAY,
        worker="demo",
        sequence=1,
    )


def _assign(places: list[Place], made: list[Backups], now: datetime) -> None:
    """Put the machines under the policies that their tags select."""
    covered = [
        (place, each)
        for place, each in zip(places, made, strict=True)
        if fate_of(place.machine) is not Fate.UNPROTECTED
    ]
    _store(
        PolicyDevice(
            policy=place.policy,
            device=place.device,
            is_by_name=False,
            next_due=max(each.runs[0].queued_at + place.machine.role.every, now + timedelta(minutes=3))
            if each.runs
            else now + HOUR,
            succeeded_at=max((point.made_at for point in each.points), default=None),
        )
        for place, each in covered
    )


def _pause(places: list[Place], now: datetime) -> None:
    """Pause machines since before their newest restore point was too old."""
    for place in places:
        if fate_of(place.machine) is Fate.PAUSED:
            pause = Pause.objects.create(
                device=place.device, until=now + 9 * HOUR, reason="Its disks are exchanged.", made_by="demo"
            )
            Pause.objects.filter(pk=pause.pk).update(made_at=now - place.machine.role.rpo * 1.3)


def _store(rows: Iterable[models.Model]) -> None:
    """Store rows of one model, some thousand at a time."""
    pending = iter(rows)
    while batch := list(itertools.islice(pending, _BATCH)):
        type(batch[0])._default_manager.bulk_create(batch)
