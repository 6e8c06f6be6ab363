"""Memory: a worker while it backs up, and the whole console at rest."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import ours, report
from tests.bench.places import make_place
from tests.bench.processes import MIB, Memory, list_tree, name_of, read_memory, read_processor_seconds
from tests.bench.trees import make_large_files, make_small_files
from tests.live.machine import wait_until

ROOT = Path(__file__).resolve().parents[2]
_REST_S = 30.0


def run() -> None:
    ours.preload()
    _measure_worker()
    _measure_console()


def _measure_worker() -> None:
    with make_place(size_mb=3000) as place:
        make_large_files(place.source / "large")
        make_small_files(place.source / "small", count=20_000)
        with place.console() as console:
            figures = ours.measure(console, place.source, memory=True)
    report.say(f"restic on the device: {figures.restic.shared_fairly / MIB:.0f} MiB PSS")
    worker = figures.worker
    report.say(f"worker: {worker.shared_fairly / MIB:.1f} MiB PSS with one parent to share with")
    report.print_budget("worker's private memory", worker.private / MIB, 30, unit=" MiB")


def _measure_console() -> None:
    with _running_console() as serve:
        time.sleep(10)  # what a start leaves behind is not rest
        before, began = _processor_seconds(serve), time.monotonic()
        time.sleep(_REST_S)
        share = (_processor_seconds(serve) - before) / (time.monotonic() - began) * 100
        sizes = {pid: (name_of(pid), read_memory(pid)) for pid in list_tree(serve)}
    report.print_table(
        ["process at rest", "PSS MiB", "private MiB"],
        [
            [f"{name} {pid}", f"{memory.shared_fairly / MIB:.1f}", f"{memory.private / MIB:.1f}"]
            for pid, (name, memory) in sizes.items()
        ],
    )
    total = sum((memory for _, memory in sizes.values()), Memory())
    report.print_budget("console at rest", total.shared_fairly / MIB, 350, unit=" MiB PSS")
    report.print_budget("console at rest", share, 2, unit=" % of a core")


def _processor_seconds(pid: int) -> float:
    return sum(read_processor_seconds(each) for each in list_tree(pid))


@contextmanager
def _running_console() -> Iterator[int]:
    """`manage.py serve` at a home of its own, stopped in order at the end. Its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with (
        tempfile.TemporaryDirectory(prefix="hotfleet-bench-") as folder,
        (Path(folder) / "log").open("wb") as log,
    ):
        kept = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
        }
        serve = subprocess.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=kept | {
                "DJANGO_SETTINGS_MODULE": "backupsite.settings",
                "HOTFLEET_HOME": f"{folder}/home",
                "HOTFLEET_PORT": str(port),
            },
            start_new_session=True,
        )  # fmt: skip
        try:
            wait_until(lambda: _answers(port), timeout_s=90, what="an answer of the console")
            yield serve.pid
        finally:
            serve.send_signal(signal.SIGINT)
            serve.wait(90)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
