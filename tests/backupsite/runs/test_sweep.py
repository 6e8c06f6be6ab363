"""What the tick puts right."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.runs import queue, sweep, tick
from backupsite.runs.lease import take
from backupsite.runs.models import Run, RunImpact, RunPhase, RunSample, TickLease
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from tests.backupsite.runs.grounds import Valkey

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]


def make_run(device: Device, kind: str = "backup") -> Run:
    return request_run(kind, device, request={"file": "x"}, requested_by="ada")


def test_a_run_whose_lease_ran_out_is_lost_and_tried_again(device: Device) -> None:
    run = make_run(device)
    take(run.pk)
    RunPhase.objects.create(run=run, name="transfer", started_at=timezone.now())
    assert sweep.end_lost(timezone.now()) == 0
    assert sweep.end_lost(timezone.now() + timedelta(seconds=31)) == 1
    run.refresh_from_db()
    assert (run.state, run.error_code) == (State.LOST, "worker-lost")
    assert run.phases.get().ended_at is not None
    retry = run.retries.get()
    assert (retry.state, retry.attempt, retry.request, retry.requested_by) == (
        "queued",
        2,
        {"file": "x"},
        "ada",
    )
    assert retry.not_before is not None
    assert retry.not_before > timezone.now() + timedelta(seconds=20), "the device heals itself first"


def test_a_lost_restore_is_not_repeated(device: Device) -> None:
    run = make_run(device, "restore")
    take(run.pk)
    sweep.end_lost(timezone.now() + timedelta(seconds=31))
    assert Run.objects.count() == 1


def count_wakes(valkey: Valkey, name: str = "bulk") -> int:
    return int(valkey.client().llen(f"rq:queue:{name}"))


def test_queued_runs_without_a_wake_up_get_one(device: Device, valkey: Valkey) -> None:
    make_run(device)
    now = timezone.now()
    assert sweep.wake_queued(now) == 1
    assert sweep.wake_queued(now) == 0, "one lies there"
    valkey.client().flushall()
    assert sweep.wake_queued(now) == 1
    assert count_wakes(valkey) == 1


def test_a_run_is_not_woken_before_its_time(device: Device, valkey: Valkey) -> None:
    make_run(device)
    Run.objects.update(not_before=timezone.now() + timedelta(minutes=1))
    assert sweep.wake_queued(timezone.now()) == 0
    assert sweep.wake_queued(timezone.now() + timedelta(minutes=2)) == 1


def test_what_may_not_work_wakes_nobody(device: Device, valkey: Valkey) -> None:
    take(make_run(device).pk)
    make_run(device, "probe")
    assert sweep.wake_queued(timezone.now()) == 0


def test_a_queue_is_not_filled_without_end(valkey: Valkey, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST_WAKES", 3)
    for n in range(5):
        make_run(Device.objects.create(name=f"d{n}", slug=f"d{n}"))
    make_run(Device.objects.get(name="d0"), "probe")
    assert sweep.wake_queued(timezone.now()) == 4
    assert (count_wakes(valkey), count_wakes(valkey, "interactive")) == (3, 1)


def test_without_redis_runs_wait_in_the_database(device: Device) -> None:
    make_run(device)
    assert sweep.wake_queued(timezone.now()) == 0
    assert Run.objects.get().state == State.QUEUED


def test_strange_entries_of_the_queue_do_not_stop_the_sweep(device: Device, valkey: Valkey) -> None:
    valkey.client().rpush("rq:queue:bulk", b"\xff\xfe", "no-uuid", "")
    make_run(device)
    assert sweep.wake_queued(timezone.now()) == 1


def test_old_samples_are_thinned_once(device: Device) -> None:
    now = timezone.now()
    run = make_run(device)
    Run.objects.update(state=State.SUCCEEDED, ended_at=now - timedelta(days=8))
    RunSample.objects.bulk_create(
        RunSample(run=run, at=now, bytes_done=n, stored_bytes=n, files_done=n) for n in range(300)
    )
    RunImpact.objects.bulk_create(
        RunImpact(run=run, at=now, cpu=0.1, disk_busy=0.2, disk_wait_ms=1.0, network_bytes_s=n)
        for n in range(300)
    )
    sweep.thin_old(now)
    assert run.impacts.count() <= sweep.OLD_SAMPLES + 1
    kept = list(run.samples.values_list("bytes_done", flat=True))
    assert len(kept) <= sweep.OLD_SAMPLES + 1
    assert (kept[0], kept[-1]) == (0, 299)
    RunSample.objects.create(run=run, at=now, bytes_done=300, stored_bytes=0, files_done=0)
    sweep.thin_old(now)
    assert run.samples.count() == len(kept) + 1


def test_one_process_at_a_time_holds_the_tick() -> None:
    assert tick.take("one")
    assert not tick.take("two")
    assert tick.take("one")
    tick.release("one")
    assert tick.take("two")
    TickLease.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert tick.take("one"), "a dead holder is replaced"
