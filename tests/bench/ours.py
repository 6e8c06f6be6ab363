"""A backup by Hotfleet as a worker makes it: in a forked process of its own, everything real."""

from __future__ import annotations

import gc
import importlib
import os
import secrets
import time
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from agents.backup import BackupRequest, back_up
from agents.events import CommandRan, Event, Phase, PhaseEnded
from agents.flow import Unstoppable
from agents.plan import SourceRequest
from agents.restic.repository import open_repository
from agents.runner import NO_LIMITS, Limits
from tests.bench.processes import Memory, Sampler, find_by_name
from tests.live.flows import Console

UNLIMITED = NO_LIMITS
_FORK = get_context("fork")


@dataclass(frozen=True, slots=True)
class Figures:
    """What one backup cost, in seconds; `engine_s` is what restic says about itself, `ended` a moment of the
    monotonic clock. Memory is the highest of the worker and of restic on the device."""

    whole_s: float
    engine_s: float
    processor_s: float = 0.0
    restic_id: str = ""
    phases: dict[Phase, float] = field(default_factory=dict)
    commands: tuple[tuple[str, float], ...] = ()
    ended: float = 0.0
    worker: Memory = field(default_factory=Memory)
    restic: Memory = field(default_factory=Memory)


def preload() -> None:
    """Import what a worker needs, as the product's parent does before it forks."""
    importlib.import_module("agents.ssh.connecting")
    gc.collect()
    gc.freeze()


class Worker:
    """One forked process that makes one backup. `go()` lets it start, `join()` returns its figures."""

    def __init__(self, console: Console, source: Path, *, limits: Limits = UNLIMITED) -> None:
        self._console = console
        ours, theirs = _FORK.Pipe()
        self._pipe: Connection[Any, Any] = ours
        self._process = _FORK.Process(target=_work, args=(theirs, console, source, limits))
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def go(self) -> None:
        self._pipe.send("go")

    def join(self) -> Figures:
        """Raise what the backup raised."""
        got = self._pipe.recv()
        self._process.join()
        if isinstance(got, BaseException):
            raise got
        if not isinstance(got, Figures):
            raise TypeError(f"a worker answered {got!r}")
        return replace(got, engine_s=engine_seconds(self._console, got.restic_id))


def measure(console: Console, source: Path, *, limits: Limits = UNLIMITED, memory: bool = False) -> Figures:
    """Back up `source` once and return what it cost; with `memory` also the highest memory of the worker and
    of restic on the device (looking costs some processor time: not where seconds matter)."""
    worker = Worker(console, source, limits=limits)
    if not memory:
        worker.go()
        return worker.join()
    device = console.device
    with (
        Sampler(lambda: [worker.pid]) as on_console,
        Sampler(lambda: find_by_name(device.session_pids(), "restic")) as on_device,
    ):
        worker.go()
        figures = worker.join()
    return replace(figures, worker=on_console.highest(), restic=on_device.highest())


def _work(pipe: Connection[Any, Any], console: Console, source: Path, limits: Limits) -> None:
    try:
        pipe.recv()
        pipe.send(_back_up(console, source, limits))
    except BaseException as error:
        pipe.send(error)


def _back_up(console: Console, source: Path, limits: Limits) -> Figures:
    phases: dict[Phase, float] = {}
    commands: list[tuple[str, float]] = []

    def tell(event: Event) -> None:
        if isinstance(event, PhaseEnded):
            phases[event.phase] = event.seconds
        if isinstance(event, CommandRan):
            commands.append((event.line, event.seconds))

    request = BackupRequest(
        console.id, secrets.token_hex(16), console.device.name, (SourceRequest(str(source)),),
        console.place, console.binary, limits=limits,
    )  # fmt: skip
    began = time.monotonic()
    outcome = back_up(request, console.open_session, tell=tell, control=Unstoppable())
    ended = time.monotonic()
    times = os.times()
    (point,) = outcome.points
    return Figures(
        ended - began, 0.0, times.user + times.system, point.restic_id, phases, tuple(commands),
        ended,
    )  # fmt: skip


def engine_seconds(console: Console, restic_id: str = "") -> float:
    """Return how long restic itself worked on a restore point (on the newest without an id)."""
    with open_repository(console.place.path, console.password, console.binary) as repository:
        points = [each for each in repository.list_snapshots() if restic_id in ("", each.snapshot_id)]
    seconds = [(point.summary.began_at, point.summary.ended_at) for point in points if point.summary]
    began_at, ended_at = max((began, ended) for began, ended in seconds if began and ended)
    return (ended_at - began_at).total_seconds()
