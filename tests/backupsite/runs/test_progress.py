"""What a flow tells becomes rows: bounded, storable, fenced."""

from __future__ import annotations

import pytest
from django.db import OperationalError
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import LeaseLost
from agents.events import (
    Checked,
    CheckState,
    CommandRan,
    FileProblem,
    Froze,
    Level,
    Moved,
    Phase,
    PhaseEnded,
    PhaseStarted,
    Said,
)
from backupsite.fleet.models import Device
from backupsite.runs import progress
from backupsite.runs.lease import Lease, take
from backupsite.runs.models import Run, RunLine, RunSample
from backupsite.runs.progress import Recorder, SampleBook
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from backupsite.runs.texts import make_storable


@pytest.fixture
def lease(device: Device) -> Lease:
    run = request_run("backup", device, request={}, requested_by="ada")
    taken = take(run.pk)
    assert taken is not None
    return taken


@pytest.fixture
def recorder(lease: Lease) -> Recorder:
    return Recorder(Run.objects.get(), lease)


@pytest.mark.postgresql
def test_events_become_rows_and_columns(recorder: Recorder) -> None:
    recorder(PhaseStarted(Phase.CONNECT))
    recorder(PhaseEnded(Phase.CONNECT, 1.5))
    recorder(PhaseStarted(Phase.TRANSFER))
    recorder(Said("hello", Level.WARNING))
    recorder(CommandRan("btrfs subvolume list /", 1, 0.25))
    recorder(Moved(10, 2, 5, problems=1, bytes_total=100, files_total=20))
    recorder(Froze("PostgreSQL", 12.4, 100.0))
    recorder(Froze("Redis", 3.0, 100.0))
    recorder(Checked("sudo", CheckState.BAD, "No sudo.", "Add the rule."))
    recorder(FileProblem("/srv/a", "permission denied"))
    recorder.flush()
    run = Run.objects.get()
    assert (run.phase, run.bytes_done, run.bytes_total, run.files_total) == ("transfer", 10, 100, 20)
    assert (run.freeze_ms, run.freeze_limit_ms, run.problem_count) == (12.4, 100.0, 1)
    assert [line.text for line in run.lines.all()] == [
        "hello",
        "btrfs subvolume list /\nstatus 1 after 0.2 s",
        "Writing was held for at most 12.4 ms (PostgreSQL; the limit is 0.1 s).",
        "Writing was held for at most 3.0 ms (Redis; the limit is 0.1 s).",
        "/srv/a: permission denied",
    ]
    connect, transfer = run.phases.all()
    assert connect.ended_at is not None
    assert (connect.ended_at - connect.started_at).total_seconds() == 1.5
    assert transfer.ended_at is None
    assert (run.checks.get().state, run.samples.get().stored_bytes) == ("bad", 5)


@pytest.mark.postgresql
def test_a_check_is_updated_and_the_sequence_grows_with_each_flush(recorder: Recorder) -> None:
    before = Run.objects.get().sequence
    for state in (CheckState.UNKNOWN, CheckState.GOOD):
        recorder(Checked("sudo", CheckState.UNKNOWN, "Looking."))
        recorder(Checked("sudo", state, "Seen."))
        recorder.flush()
    recorder.flush()
    run = Run.objects.get()
    assert run.checks.get().state == "good"
    assert run.sequence == before + 2, "an empty flush changes nothing"


@pytest.mark.postgresql
@pytest.mark.parametrize("change", [{"state": State.LOST}, {"lease_token": "another"}])
def test_a_run_that_is_somebody_elses_is_not_written_to(recorder: Recorder, change: dict[str, str]) -> None:
    recorder(Said("too late"))
    Run.objects.update(**change)
    with pytest.raises(LeaseLost):
        recorder.flush()
    assert not RunLine.objects.exists()


def test_what_the_database_refused_is_written_later_in_order(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder(Said("one"))
    recorder(Moved(1, 1, 1, 0))
    with monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise OperationalError("database is locked")

        patch.setattr(progress, "_store_phases", refuse)
        with pytest.raises(OperationalError):
            recorder.flush()
    recorder(Said("two"))
    recorder(Moved(2, 1, 1, 0))
    recorder.flush()
    assert [line.text for line in RunLine.objects.all()] == ["one", "two"]
    assert Run.objects.get().bytes_done == 2


def test_a_log_without_end_is_cut_and_says_so(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MOST_LINES", 5)
    for number in range(9):
        recorder(Said(f"line {number}"))
    recorder.close()
    texts = [line.text for line in RunLine.objects.all()]
    assert texts[:4] == [f"line {number}" for number in range(4)]
    assert texts[4:] == ["The log is full: only its first 5 lines are kept."]


def test_a_million_unreadable_files_are_counted_and_not_listed(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MOST_FILES", 3)
    for number in range(10):
        recorder(FileProblem(f"/srv/{number}", "no"))
    recorder.close()
    run = Run.objects.get()
    assert (run.problem_count, run.lines.filter(kind="file").count()) == (10, 3)
    assert run.lines.last().text == "7 more files had problems and are not listed."  # type: ignore[union-attr]  # there is one


def test_samples_of_a_long_run_are_thinned(lease: Lease, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MOST_SAMPLES", 8)
    clock = 0.0
    book = SampleBook(Run.objects.get(), clock=lambda: clock)
    for second in range(200):
        clock = float(second)
        sample = book.make({"bytes_done": second, "stored_bytes": 0, "files_done": 0})
        if sample is not None:
            book.store(sample)
    kept = list(RunSample.objects.values_list("bytes_done", flat=True))
    assert 4 <= len(kept) < 8
    assert kept == sorted(kept)
    assert (kept[0], kept[-1] > 150) == (0, True)


@pytest.mark.postgresql
def test_the_worst_text_that_a_device_can_say_is_stored(recorder: Recorder) -> None:
    nasty = "\x00\udcff\ud800<b>" + "ü" * 10_000
    recorder(Said(nasty))
    recorder(FileProblem(nasty, nasty))
    recorder(Checked(nasty, CheckState.BAD, nasty, nasty))
    recorder(Moved(2**70, -5, 2**64, problems=2**40))
    recorder.flush()
    run = Run.objects.get()
    first = run.lines.first()
    assert first is not None
    assert first.text.startswith("␀\\xff\\ud800<b>üü")
    assert first.text.endswith("(cut)")
    assert (run.bytes_done, run.files_done, run.problem_count) == (2**63 - 1, 0, 2**31 - 1)


@given(st.text(st.characters(codec=None)), st.integers(32, 200))
def test_any_text_is_made_storable(text: str, limit: int) -> None:
    made = make_storable(text, limit)
    assert len(made.encode()) <= limit
    assert "\x00" not in made
    if len(text.encode(errors="replace")) <= limit and text.isprintable():
        assert made == text
