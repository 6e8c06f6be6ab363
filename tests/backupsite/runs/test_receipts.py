"""Receipts on their way into the database: bounded, thinned, and kept when the database refuses."""

from __future__ import annotations

import pytest
from django.utils import timezone

from agents.events import Felt, Froze, FrozenStep, Impact, Throttled
from backupsite.fleet.models import Device
from backupsite.runs import receipts
from backupsite.runs.impact import show_work
from backupsite.runs.lease import Lease, take
from backupsite.runs.models import Run, RunFigure, RunFreeze, RunImpact, RunPause
from backupsite.runs.progress import Recorder
from backupsite.runs.receipts import ReceiptBook
from backupsite.runs.requests import request_run

NBSP = "\N{NO-BREAK SPACE}"
IMPACT = Impact(1.0, 1.0, False, 0.2, None, 0.1, None, 0.5, 1.0, 0.0, 0.0, 5.0, None, None)


@pytest.fixture
def lease(device: Device) -> Lease:
    run = request_run("backup", device, request={}, requested_by="ada")
    taken = take(run.pk)
    assert taken is not None
    return taken


@pytest.mark.postgresql
def test_receipts_become_rows(lease: Lease) -> None:
    recorder = Recorder(Run.objects.get(), lease)
    recorder(Froze("PostgreSQL", 12.5, 100.0, (FrozenStep("hold", 2.0), FrozenStep("LVM snapshot", 10.0))))
    recorder(Froze("ledger.service", 800.0, 120_000.0, (), True))
    recorder(IMPACT)
    recorder(Throttled(2.0, "backup"))
    recorder(Felt("cpu", None, 0.2, 0.9))
    recorder(Felt("cpu", 0.1, 0.3, 0.9))
    recorder.flush()
    freeze, stop = RunFreeze.objects.all()
    assert (freeze.what, freeze.steps) == ("PostgreSQL", [["hold", 2.0], ["LVM snapshot", 10.0]])
    assert (stop.is_stop, stop.milliseconds) == (True, 800.0)
    assert Run.objects.get().freeze_ms == 12.5, "a downtime is no freeze"
    assert RunImpact.objects.get().cpu_pressure is None
    assert (RunPause.objects.get().seconds, RunFigure.objects.get().mean) == (2.0, 0.3)
    recorder(Felt("cpu", 0.1, 0.4, 0.9))
    recorder.flush()
    assert RunFigure.objects.get().mean == 0.4


def test_what_an_application_counted_is_a_figure_of_its_own(lease: Lease) -> None:
    recorder = Recorder(Run.objects.get(), lease)
    recorder(Felt("transactions_s", None, 99.0, None, "PostgreSQL 15/main"))
    recorder(Felt("transactions_s", 120.0, 100.0, None, "PostgreSQL 15/main"))
    recorder(Felt("transactions_s", 5.0, 6.25, None, "PostgreSQL 15/<b>"))
    recorder(Felt("unknown", 5.0, 6.25, None, "PostgreSQL 15/main"))
    recorder(Felt("fork_ms", None, 23.0, None, "Redis 6379"))
    recorder(Felt("cpu", 0.1, 0.3, 0.9))
    recorder.flush()
    shown = show_work(list(RunFigure.objects.all()))
    assert [(each.subject, each.title, each.mean, each.before) for each in shown] == [
        ("PostgreSQL 15/main", "Transactions", "100 a second", "120 a second"),
        ("PostgreSQL 15/<b>", "Transactions", "6.2 a second", "5.0 a second"),
        ("Redis 6379", "Last fork", f"23{NBSP}ms", "not known"),
    ]


def test_what_was_taken_back_comes_before_what_came_since(lease: Lease) -> None:
    book = ReceiptBook(Run.objects.get())
    now = timezone.now()
    book.freeze(Froze("one", 1.0, 2.0), now)
    book.figure(Felt("cpu", 0.0, 0.1, 0.1))
    rows = book.take()
    book.freeze(Froze("two", 1.0, 2.0), now)
    book.figure(Felt("cpu", 0.0, 0.2, 0.2))
    book.keep(rows)
    book.store(book.take())
    assert [freeze.what for freeze in RunFreeze.objects.all()] == ["one", "two"]
    assert RunFigure.objects.get().mean == 0.2


def test_impacts_of_a_long_run_are_thinned(lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "MOST_IMPACTS", 40)
    clock = [0.0]
    book = ReceiptBook(Run.objects.get(), lambda: clock[0])
    for _ in range(1000):
        clock[0] += 1.0
        book.impact(IMPACT, timezone.now())
        book.store(book.take())
    assert 10 < RunImpact.objects.count() <= 40


def test_a_device_that_freezes_without_end_is_bounded(lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "MOST_FREEZES", 3)
    monkeypatch.setattr(receipts, "MOST_PAUSES", 3)
    book = ReceiptBook(Run.objects.get())
    for _ in range(10):
        book.freeze(Froze("x", 1.0, 2.0, tuple(FrozenStep("s", 1.0) for _ in range(500))), timezone.now())
        book.pause(Throttled(1.0, "backup"), timezone.now())
    book.store(book.take())
    assert (RunFreeze.objects.count(), RunPause.objects.count()) == (3, 3)
    assert all(len(freeze.steps) == receipts.MOST_STEPS for freeze in RunFreeze.objects.all())
