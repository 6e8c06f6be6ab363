"""Streams of PostgreSQL's log in the tests, and a writer that keeps a ledger of what was acknowledged."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from agents.applications.stored import Stored
from agents.comeback import ComebackOutcome
from agents.errors import AgentError, Cancelled
from agents.facts import Instance
from agents.plan import SourceRequest
from agents.wal import (
    Base,
    Batch,
    Gap,
    Piece,
    Replay,
    Streamed,
    StreamRequest,
    WalLog,
    Window,
    coverage,
    make_slot_name,
    read_spool,
    store_batch,
)
from agents.wal.stream import stream
from tests.live.daemons import bring_back, stored_of
from tests.live.flows import Console
from tests.live.ground import wait_until
from tests.live.postgresql import _AS_POSTGRES, Cluster, Service

# More than that, and the server drops what the console did not take.
KEEP_MB = 64


@contextmanager
def logging_cluster(console: Console, data: Path, state: Path) -> Iterator[Service]:
    """A cluster that keeps so much of its log for us, and no more."""
    setting = f"max_slot_wal_keep_size={KEEP_MB}MB"
    cluster = Service(data, state, f"hotfleet-pg-{console.id}", setting)
    cluster.create()
    with cluster:
        yield cluster
    shutil.rmtree(data, ignore_errors=True)


class Log:
    """What the console has of the log of one cluster."""

    def __init__(self, console: Console, cluster: Service, spool: Path) -> None:
        self.console, self.cluster, self.spool = console, cluster, spool
        self.slot = make_slot_name(console.id, "d1")
        self.batches: list[Batch] = []

    @property
    def pieces(self) -> list[Piece]:
        return [*(batch.piece for batch in self.batches), *read_spool(self.spool)]

    def request(self) -> StreamRequest:
        return StreamRequest(
            self.console.id, secrets.token_hex(16), str(self.cluster.data), self.slot, self.spool
        )

    def store(self) -> int:
        """Store what can be stored, and return how many batches that were."""
        before = len(self.batches)
        host = self.console.device.name
        while store_batch(
            self.console.place, self.console.binary, self.spool, host=host, keep=self.batches.append
        ):
            pass
        return len(self.batches) - before

    def windows(self, *bases: Base) -> tuple[Window, ...]:
        return coverage(bases, self.pieces)

    def replay(self, moment: datetime | None, base: Base) -> Replay:
        return Replay(moment, base, WalLog(tuple(self.batches), self.spool, self.console.device.name))


class Stopper:
    """A control that stops when it is told to."""

    def __init__(self) -> None:
        self.is_stopped = False

    def raise_if_stopped(self) -> None:
        if self.is_stopped:
            raise Cancelled("stopped")

    def is_current(self) -> bool:
        return True


class Streaming:
    """A stream in a thread, and what it told."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.control = Stopper()
        self.told: list[object] = []
        self.error: AgentError | None = None
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        open_session = self.log.console.open_session
        try:
            stream(self.log.request(), open_session, tell=self.told.append, control=self.control)
        except AgentError as error:
            self.error = error

    @property
    def gaps(self) -> list[Gap]:
        return [each for each in self.told if isinstance(each, Gap)]

    @property
    def last(self) -> Streamed | None:
        return next((each for each in reversed(self.told) if isinstance(each, Streamed)), None)

    def catch_up(self) -> Streamed:
        """Wait until all that the server wrote by now is here and a tick said so; return that."""
        cluster = self.log.cluster
        lsn = int(cluster.sql("select pg_current_wal_flush_lsn() - '0/0'"))

        def is_here() -> bool:
            if self.error is not None:
                raise AssertionError(self.error)
            return self.last is not None and self.last.behind_bytes == 0 and self.last.tick.lsn >= lsn

        wait_until(is_here, timeout_s=120, what="the log in the spool")
        if self.last is None:
            raise AssertionError("nothing was told")
        return self.last

    def end_by_itself(self) -> AgentError:
        """Wait for the end that the next start mends, and return it."""
        self.thread.join(180)
        if self.error is None or not self.error.retryable:
            raise AssertionError(self.error)
        ended, self.error = self.error, Cancelled("it is over")
        return ended


@contextmanager
def streaming(log: Log) -> Iterator[Streaming]:
    """Stream while the context lasts. Raise AssertionError when the stream ended by itself."""
    running = Streaming(log)
    running.thread.start()
    try:
        yield running
    finally:
        running.control.is_stopped = True
        running.thread.join(120)
    if not isinstance(running.error, Cancelled):
        raise AssertionError(running.error)


def back_up(log: Log, method: str) -> tuple[Stored, Instance | None, Base]:
    """Make a restore point of the cluster and return it, with what it is to the log."""
    began = datetime.now(UTC)
    instance = str(log.cluster.data)
    outcome = log.console.back_up(SourceRequest(application="postgresql", instance=instance, method=method))
    stored, known = stored_of(outcome, "postgresql", instance)
    return stored, known, Base("base", began, datetime.now(UTC))


def bring_back_to(
    log: Log, made: tuple[Stored, Instance | None, Base], moment: datetime | None
) -> ComebackOutcome:
    """Bring the cluster back to a moment, None: as far as the log goes."""
    stored, known, base = made
    replay = log.replay(moment, base)
    back = bring_back(log.console, stored, known, log.cluster.daemon.name, replay=replay)
    log.cluster.wait()
    return back


def server_time(cluster: Cluster) -> datetime:
    """Return a moment of the server's clock that lies between what was done before and after."""
    time.sleep(0.2)
    moment = datetime.fromisoformat(cluster.sql("select clock_timestamp()"))
    time.sleep(0.2)
    return moment


class Ledger:
    """A writer of numbers, one transaction each, that notes when each was acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        self.acknowledged: list[tuple[datetime, int]] = []
        words = [*_AS_POSTGRES, "env", f"PGHOST={cluster.socket}", "PGPORT=5432", cluster.binaries / "psql"]
        self._psql = subprocess.Popen(
            [*map(str, words), "-X", "-q", "-A", "-t", "-d", "postgres", "-f", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        stdin, stdout = self._psql.stdin, self._psql.stdout
        if stdin is None or stdout is None:
            raise AssertionError("psql has no pipes")
        number = 0
        while not self._is_over.is_set():
            number += 1
            try:
                stdin.write(b"insert into ledger values (%d) returning n;\n" % number)
                stdin.flush()
            except BrokenPipeError:
                return
            if stdout.readline().strip() != b"%d" % number:
                return
            self.acknowledged.append((datetime.now(UTC), number))
            time.sleep(0.01)

    def stop(self) -> None:
        """End the writer, whatever became of the server."""
        self._is_over.set()
        self._thread.join(60)
        self._psql.kill()
        self._psql.communicate()


@contextmanager
def ledger(cluster: Cluster) -> Iterator[Ledger]:
    cluster.sql("create table ledger (n int primary key)")
    writer = Ledger(cluster)
    try:
        yield writer
    finally:
        writer.stop()


def numbers(cluster: Cluster) -> list[int]:
    """Return what is in the ledger of a cluster."""
    return [int(line) for line in cluster.sql("select n from ledger order by n").split()]
