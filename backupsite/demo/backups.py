"""The runs and restore points of one machine of the demo, as rows that are not stored yet."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backupsite.demo.fates import Fate, Past, fate_of, is_kept, list_past
from backupsite.demo.machines import Data, Machine
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery.folders import encode_path
from backupsite.recovery.models import RestorePoint
from backupsite.repositories.models import Repository
from backupsite.runs.models import Run, RunFreeze, RunImpact, RunLine, RunPhase, RunSample
from backupsite.runs.states import State

# A disk and a line give so much.
_BYTES_S = 48_000_000
_SHARES = (
    ("connect", 0.04),
    ("check", 0.05),
    ("freeze", 0.01),
    ("snapshot", 0.03),
    ("transfer", 0.75),
    ("verify", 0.07),
    ("clean-up", 0.05),
)


@dataclass
class Place:
    """A machine's rows, which its backups belong to."""

    machine: Machine
    device: Device
    policy: Policy
    repository: Repository


@dataclass
class Backups:
    """What one machine's backups left, newest first."""

    runs: list[Run] = field(default_factory=list)
    points: list[RestorePoint] = field(default_factory=list)


def make_backups(place: Place, now: datetime, *, dense: timedelta, whole: timedelta) -> Backups:
    """Given a machine, return its backups. Runs have no numbers yet."""
    made, seen = Backups(), set[tuple[str, object]]()
    for past in list_past(place.machine, now, dense=dense, whole=whole):
        run = _make_run(place, past)
        made.runs.append(run)
        if past.state.is_good and is_kept(past.began, now, seen):
            made.points += (_make_point(place, run, data, past) for data in place.machine.role.sources)
    return made


def _make_run(place: Place, past: Past) -> Run:
    machine = place.machine
    size = sum(int(data.size_bytes * machine.scale) for data in machine.role.sources)
    new = sum(_new_bytes(machine, data, past) for data in machine.role.sources)
    seconds = 11 + new / _BYTES_S if past.state.is_good else 34
    freezes = [data.freeze_ms for data in machine.role.sources if data.freeze_ms]
    files = sum(data.files for data in machine.role.sources)
    run = Run(
        id=uuid.UUID(int=random.Random(f"{machine.place} {past.began}").getrandbits(128), version=4),
        kind=Run.BACKUP,
        device=place.device,
        policy=place.policy,
        requested_by="schedule",
        state=past.state,
        queued_at=past.began - timedelta(seconds=2),
        place=past.began,
        started_at=past.began,
        ended_at=past.began + timedelta(seconds=seconds),
    )
    if past.state.is_good:
        run.bytes_done = run.bytes_total = size
        run.files_done = run.files_total = files
        run.stored_bytes = new
        run.problem_count = 3 if past.state is State.WARNINGS else 0
        if freezes:
            run.freeze_ms, run.freeze_limit_ms = max(freezes) * (0.6 + past.news / 3), 10_000
    if past.failure is not None:
        run.error_code, run.error_text = past.failure.code, past.failure.text
        run.error_remedy = past.failure.remedy
    return run


def _new_bytes(machine: Machine, data: Data, past: Past) -> int:
    return int(data.size_bytes * machine.scale * data.new_share * past.news)


def _make_point(place: Place, run: Run, data: Data, past: Past) -> RestorePoint:
    chance = random.Random(f"{run.pk} {data.key}")
    is_hurt = fate_of(place.machine) is Fate.DAMAGED and data is place.machine.role.sources[-1]
    return RestorePoint(
        id=uuid.UUID(int=chance.getrandbits(128), version=4),
        device=place.device,
        repository=place.repository,
        policy=place.policy,
        run=run,
        source=data.key,
        part="data.tar" if data.application else "",
        paths=[encode_path(data.path)] if data.path else [],
        restic_id=f"{chance.getrandbits(256):064x}",
        made_at=past.began + timedelta(seconds=3),
        method=data.method,
        consistency=data.consistency,
        is_complete=not (run.problem_count and data is place.machine.role.sources[-1]),
        size_bytes=int(data.size_bytes * place.machine.scale),
        file_count=data.files,
        stored_bytes=_new_bytes(place.machine, data, past),
        problem_count=run.problem_count if data is place.machine.role.sources[-1] else 0,
        damage="A pack that it needs is not what was stored." if is_hurt and chance.random() < 0.3 else "",
    )


def list_details(run: Run, place: Place) -> Iterator[RunPhase | RunLine | RunFreeze | RunSample | RunImpact]:
    """Given a stored run, yield what its page shows: phases, log, freeze, throughput, impact."""
    began, ended = run.started_at, run.ended_at
    if began is None or ended is None:
        return
    chance, seconds = random.Random(run.number), (ended - began).total_seconds()
    at = began
    for name, share in _SHARES if State(run.state).is_good else _SHARES[:2]:
        yield RunPhase(
            run=run, name=name, started_at=at, ended_at=(at := at + timedelta(seconds=share * seconds))
        )
    yield from _list_lines(run, place, began)
    for data in place.machine.role.sources:
        if data.freeze_ms and run.freeze_ms:
            steps = [
                ["hold", run.freeze_ms * 0.3],
                ["snapshot", run.freeze_ms * 0.6],
                ["let go", run.freeze_ms * 0.1],
            ]
            yield RunFreeze(
                run=run,
                at=began + timedelta(seconds=seconds * 0.1),
                what=data.key,
                milliseconds=run.freeze_ms,
                limit_ms=10_000,
                steps=steps,
            )
    for step in range(48):
        moment, share = began + timedelta(seconds=seconds * step / 47), min(max(step - 6, 0) / 36, 1)
        if run.bytes_done:
            yield RunSample(
                run=run,
                at=moment,
                bytes_done=int(run.bytes_done * share),
                stored_bytes=int(run.stored_bytes * share),
                files_done=int(run.files_done * share),
            )
        busy = 0.25 if 6 <= step <= 42 else 0.08
        yield RunImpact(
            run=run,
            at=moment,
            cpu=busy + chance.uniform(0, 0.1),
            cpu_pressure=chance.uniform(0, 0.03),
            io_pressure=chance.uniform(0, busy / 4),
            memory_pressure=0.0,
            disk_busy=busy + chance.uniform(0, 0.15),
            disk_wait_ms=chance.uniform(0.3, 1.8),
            network_bytes_s=run.stored_bytes / seconds * (6 <= step <= 42),
        )


def _list_lines(run: Run, place: Place, began: datetime) -> Iterator[RunLine]:
    said = [f"{place.device.name} answered; its host key is the approved one."]
    if run.state == State.FAILED:
        said.append(run.error_text)
    else:
        said += [
            f"{data.key}: {data.method}, {data.consistency} consistent."
            for data in place.machine.role.sources
        ]
        said.append("Snapshots and everything else of this run are gone from the device.")
    for number, text in enumerate(said):
        level = "error" if run.state == State.FAILED and number else "info"
        yield RunLine(
            run=run, sequence=number + 1, at=began + timedelta(seconds=number), level=level, text=text
        )
