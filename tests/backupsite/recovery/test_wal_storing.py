"""The newest of a log leaves its spool for the repository: with the real restic, in one process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from agents.errors import AgentError, LeaseLost, PlanRefused
from agents.events import Event
from agents.wal.spool import Stretch, begin_stretch, read_spool
from agents.wal.words import Tick
from backupsite.alerts.models import Notice
from backupsite.fleet.models import Device
from backupsite.recovery.wal import keeping, storing
from backupsite.recovery.wal.storing import StoreLog, ask_to_store, is_due
from backupsite.recovery.wal_models import WalBatch, WalStream
from backupsite.repositories import kit
from backupsite.repositories.making import ensure_repository
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_run
from tests.backupsite.repositories.conftest import device, home, storage

__all__ = ["device", "home", "storage"]
pytestmark = pytest.mark.django_db
MIB = 1024 * 1024


class Held:
    """A run that this process holds until it is told otherwise."""

    def __init__(self) -> None:
        self.stop_event = threading.Event()
        self.results: list[Callable[[], None]] = []
        self.is_lost = False

    def raise_if_stopped(self) -> None:
        if self.is_lost:
            raise LeaseLost("Somebody else holds it.")

    def is_current(self) -> bool:
        return not self.is_lost

    def in_transaction(self, callback: Callable[[], None]) -> None:
        self.results.append(callback)


@pytest.fixture
def stream(device: Device, storage: object) -> WalStream:
    text = kit.make_kit().text
    found = next(line.strip() for line in text.splitlines() if line.count("-") == 7)
    assert kit.confirm_kit(found[-kit.ENDING_LENGTH :])
    return WalStream.objects.create(device=device, instance="15/main", slot="x", wanted_at=timezone.now())


def fill(stream: WalStream, size: int) -> Stretch:
    """Put so many bytes into the spool, as a stream does."""
    stretch = begin_stretch(keeping.make_spool(stream), "7" * 19, 1, MIB, 0)
    for start in range(0, size, MIB):
        stretch.append(start, os.urandom(min(MIB, size - start)))
    now = timezone.now()
    stretch.note(Tick(now, now, size, size))
    return stretch


def grow_old(stretch: Stretch) -> None:
    before = time.time() - storing.LONGEST_WAIT_S - 1
    for _, segment in stretch.segments():
        os.utime(segment, (before, before))


def ignore(event: Event) -> None:
    """Nobody listens."""


def test_full_segments_are_stored_and_written_down_before_they_leave_the_spool(stream: WalStream) -> None:
    fill(stream, 5 * MIB // 2)
    run, control = make_run(stream.device, State.RUNNING, Run.LOG, request={"stream": stream.pk.hex}), Held()
    assert StoreLog().work(run, ignore, control).state is State.SUCCEEDED
    (batch,) = keeping.read_batches(stream)
    assert (batch.piece.start, batch.piece.end, batch.bytes) == (0, 2 * MIB, 2 * MIB)
    spool = keeping.find_spool(stream)
    assert spool is not None and spool.stat().st_mode & 0o777 == 0o700
    (left,) = read_spool(spool)
    assert (left.start, left.end) == (2 * MIB, 5 * MIB // 2)
    # Nothing new: no second batch.
    StoreLog().work(run, ignore, Held())
    assert WalBatch.objects.count() == 1


def test_who_lost_the_run_leaves_the_spool_as_it_is(stream: WalStream) -> None:
    fill(stream, MIB)
    run, control = make_run(stream.device, State.RUNNING, Run.LOG, request={"stream": stream.pk.hex}), Held()
    control.is_lost = True
    with pytest.raises(LeaseLost):
        StoreLog().work(run, ignore, control)
    assert not WalBatch.objects.exists() and not Notice.objects.exists()
    spool = keeping.find_spool(stream)
    assert spool is not None and [piece.end for piece in read_spool(spool)] == [MIB]


def test_a_repository_that_does_not_open_is_told(stream: WalStream) -> None:
    fill(stream, MIB)
    run, control = make_run(stream.device, State.RUNNING, Run.LOG, request={"stream": stream.pk.hex}), Held()
    StoreLog().work(run, ignore, Held())
    fill(stream, MIB)
    keep = Path(ensure_repository(stream.device).storage.path) / str(stream.device.repository.uuid) / "keys"
    keep.rename(keep.with_name("away"))
    with pytest.raises(AgentError):
        StoreLog().work(run, ignore, control)
    for write in control.results:
        write()
    assert Notice.objects.get().kind == "log-not-stored"
    spool = keeping.find_spool(stream)
    assert spool is not None and any(piece.end > piece.start for piece in read_spool(spool))


def test_a_log_without_a_spool_is_refused(stream: WalStream) -> None:
    run = make_run(stream.device, State.RUNNING, Run.LOG, request={"stream": stream.pk.hex})
    with pytest.raises(PlanRefused):
        StoreLog().work(run, ignore, Held())


def test_it_is_time_when_enough_waits_or_it_waits_long(
    stream: WalStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stretch = fill(stream, 5 * MIB // 2)
    spool = keeping.make_spool(stream)
    assert not is_due(spool)
    with monkeypatch.context() as patch:
        patch.setattr(storing, "MOST_WAITING_BYTES", 2 * MIB)
        assert is_due(spool)
    grow_old(stretch)
    assert is_due(spool)
    stretch.leave(2 * MIB)
    assert not is_due(spool), "the last segment is written to"
    begin_stretch(spool, "7" * 19, 2, MIB, 4 * MIB)
    assert is_due(spool), "nobody writes to it any more"


def test_a_failure_is_no_reason_to_try_all_the_time(stream: WalStream) -> None:
    first = ask_to_store(stream)
    assert first is not None and ask_to_store(stream) == first
    Run.objects.update(state=State.FAILED, ended_at=timezone.now())
    assert ask_to_store(stream) is None
    Run.objects.update(ended_at=timezone.now() - storing.AFTER_FAILURE - timedelta(seconds=1))
    assert ask_to_store(stream) not in (None, first)


def test_runs_that_went_well_do_not_pile_up(stream: WalStream) -> None:
    for _ in range(storing.KEPT_RUNS + 5):
        make_run(stream.device, State.SUCCEEDED, Run.LOG)
    failed = make_run(stream.device, State.FAILED, Run.LOG)
    storing.forget_old_runs(failed)
    assert Run.objects.filter(state=State.SUCCEEDED).count() == storing.KEPT_RUNS
    assert Run.objects.filter(pk=failed.pk).exists()
