"""Stores what a flow tells: rows in the database, one transaction a second at most, and a ring of the bell.

Whoever tells is never kept waiting and never sees an error of the database; what cannot be written yet waits
in a bounded buffer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from agents import events
from agents.errors import LeaseLost
from backupsite.runs import bell
from backupsite.runs.lease import Lease
from backupsite.runs.models import Run, RunCheck, RunLine, RunPhase, RunSample
from backupsite.runs.receipts import ReceiptBook
from backupsite.runs.texts import make_storable
from backupsite.runs.thinning import Thinning

FLUSH_S = 1.0
MOST_LINES = 20_000
MOST_FILES = 1_000
MOST_SAMPLES = 600
_LARGEST = 2**63 - 1


class Recorder:
    """The `Tell` of one run. Threads may share it; one thread at a time flushes."""

    def __init__(self, run: Run, lease: Lease) -> None:
        self._run, self._lease = run, lease
        self._lock = threading.Lock()
        self._lines = LineBook(run)
        self._samples = SampleBook(run)
        self._receipts = ReceiptBook(run)
        self._checks: dict[str, RunCheck] = {}
        self._phases: list[tuple[events.PhaseStarted | events.PhaseEnded, datetime]] = []
        self._columns: dict[str, Any] = {}
        self._freeze_ms: float | None = None

    def __call__(self, event: events.Event) -> None:
        """Take one event into the buffer. Raise TypeError when it is none."""
        with self._lock:
            self._take(event, timezone.now())

    def _take(self, event: events.Event, now: datetime) -> None:
        match event:
            case events.PhaseStarted(phase):
                self._phases.append((event, now))
                self._columns["phase"] = str(phase)
            case events.PhaseEnded():
                self._phases.append((event, now))
            case events.Said(text, level):
                self._lines.add(RunLine.LINE, str(level), text, now)
            case events.CommandRan(line, status, seconds):
                how = "info" if status == 0 else "warning"
                self._lines.add(RunLine.COMMAND, how, f"{line}\nstatus {status} after {seconds:.1f} s", now)
            case events.FileProblem(path, text):
                self._lines.add_file(f"{path}: {text}", now)
                self._count_problems(self._lines.file_count)
            case events.Moved():
                self._move(event)
            case events.Froze():
                self._freeze(event, now)
            case events.Impact():
                self._receipts.impact(event, now)
            case events.Felt():
                self._receipts.figure(event)
            case events.Throttled():
                self._receipts.pause(event, now)
            case events.Checked(name, state, text, remedy):
                self._checks[name] = RunCheck(
                    run=self._run,
                    name=make_storable(name, 64),
                    state=str(state),
                    text=make_storable(text),
                    remedy=make_storable(remedy),
                    at=now,
                )
            case _:
                raise TypeError(f"{event!r} is no event.")

    def _move(self, moved: events.Moved) -> None:
        numbers = {
            "bytes_done": moved.bytes_done,
            "files_done": moved.files_done,
            "stored_bytes": moved.stored_bytes,
            "bytes_total": moved.bytes_total,
            "files_total": moved.files_total,
        }
        self._columns |= {name: _clamp(value) for name, value in numbers.items() if value is not None}
        self._count_problems(moved.problems)

    def _count_problems(self, count: int) -> None:
        # restic counts what it reports; the flow may report more, one by one.
        highest = max(count, self._columns.get("problem_count", 0), self._lines.file_count)
        self._columns["problem_count"] = min(highest, 2**31 - 1)

    def _freeze(self, froze: events.Froze, now: datetime) -> None:
        how = "Its service was stopped for" if froze.is_stop else "Writing was held for at most"
        took, limit = f"{froze.milliseconds:.1f} ms", f"{froze.limit_milliseconds / 1000:g} s"
        text = f"{how} {took} ({froze.what}; the limit is {limit})."
        self._lines.add(RunLine.LINE, "info", text, now)
        self._receipts.freeze(froze, now)
        if froze.is_stop:
            return
        if self._freeze_ms is None or froze.milliseconds > self._freeze_ms:
            self._freeze_ms = froze.milliseconds
            self._columns |= {
                "freeze_ms": froze.milliseconds,
                "freeze_limit_ms": froze.limit_milliseconds,
            }

    def flush(self) -> None:
        """Store the buffer in one transaction if there is something in it, then ring the bell.

        Raise LeaseLost when this worker does not hold the run any more, DatabaseError when nothing was
        stored: the buffer is kept then.
        """
        with self._lock:
            lines, checks, phases = self._lines.pending, self._checks, self._phases
            columns, sample = dict(self._columns), self._samples.make(self._columns)
            receipts = self._receipts.take()
            if not (lines or checks or phases or columns or receipts):
                return
            self._lines.pending, self._checks, self._phases, self._columns = [], {}, [], {}
        try:
            with transaction.atomic():
                if not self._lease.rows().update(sequence=F("sequence") + 1, **columns):
                    raise LeaseLost("Another worker may hold this run now.")
                _store_phases(self._run, phases)
                RunLine.objects.bulk_create(lines, batch_size=500)
                RunCheck.objects.bulk_create(
                    checks.values(),
                    update_conflicts=True,
                    unique_fields=["run", "name"],
                    update_fields=["state", "text", "remedy", "at"],
                )
                self._receipts.store(receipts)
                if sample is not None:
                    self._samples.store(sample)
        except BaseException:
            with self._lock:
                self._lines.pending = lines + self._lines.pending
                self._checks, self._phases = checks | self._checks, phases + self._phases
                self._columns = columns | self._columns
                self._receipts.keep(receipts)
            raise
        sequence = Run.objects.values_list("sequence", flat=True).get(pk=self._run.pk)
        bell.ring(self._run.pk, self._run.device.uuid, sequence)

    def close(self) -> None:
        """Store what is left, with a last line about what was left out. Raises what `flush` raises."""
        with self._lock:
            self._lines.finish(timezone.now())
        self.flush()


class LineBook:
    """The lines that wait to be stored, numbered, bounded in length and number."""

    def __init__(self, run: Run) -> None:
        self._run = run
        # What another node told before it handed the run over stays.
        self._count = run.lines.count() if run.beside_id is not None else 0
        self.pending: list[RunLine] = []
        self.file_count = 0
        self._is_finished = False

    def add(self, kind: str, level: str, text: str, now: datetime) -> None:
        """Add a line; the last one that fits says that the log is full."""
        if self._count >= MOST_LINES:
            return
        self._count += 1
        if self._count == MOST_LINES:
            kind, level = RunLine.LINE, "warning"
            text = f"The log is full: only its first {MOST_LINES:,} lines are kept."
        self.pending.append(
            RunLine(
                run=self._run, sequence=self._count, at=now, kind=kind, level=level, text=make_storable(text)
            )
        )

    def add_file(self, text: str, now: datetime) -> None:
        """Add a file with a problem; beyond the limit they are only counted."""
        self.file_count += 1
        if self.file_count <= MOST_FILES:
            self.add(RunLine.FILE, "warning", text, now)

    def finish(self, now: datetime) -> None:
        """Say once how many files are not in the list."""
        left_out = self.file_count - MOST_FILES
        if left_out > 0 and not self._is_finished:
            self._is_finished = True
            self.add(
                RunLine.LINE, "warning", f"{left_out:,} more files had problems and are not listed.", now
            )


class SampleBook:
    """Samples of the throughput, thinned."""

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._thinning = Thinning(RunSample.objects.filter(run=run), MOST_SAMPLES, clock=clock)

    def make(self, columns: dict[str, Any]) -> RunSample | None:
        """Given the columns that changed, return a sample when it is time for one."""
        if "bytes_done" not in columns or not self._thinning.is_due:
            return None
        return RunSample(
            run=self._run,
            at=timezone.now(),
            bytes_done=columns["bytes_done"],
            stored_bytes=columns["stored_bytes"],
            files_done=columns["files_done"],
        )

    def store(self, sample: RunSample) -> None:
        """Store it inside of the caller's transaction."""
        sample.save(force_insert=True)
        self._thinning.note()
        self._thinning.stored(1)


def _store_phases(run: Run, phases: list[tuple[events.PhaseStarted | events.PhaseEnded, datetime]]) -> None:
    for event, at in phases:
        if isinstance(event, events.PhaseStarted):
            RunPhase.objects.filter(run=run, ended_at=None).update(ended_at=at)
            RunPhase.objects.create(run=run, name=str(event.phase), started_at=at)
        else:
            rows = RunPhase.objects.filter(run=run, name=str(event.phase), ended_at=None)
            started = rows.values_list("started_at", flat=True).first()
            if started is not None:
                rows.update(ended_at=started + timedelta(seconds=max(event.seconds, 0.0)))


def _clamp(value: int) -> int:
    return max(0, min(value, _LARGEST))
