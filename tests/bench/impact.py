"""What an application feels of a backup: pgbench at a fixed rate beside none, an unlimited and a limited one.

The console stands for another machine: its worker takes what nobody else wants, its storage is memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean

from agents.runner import NO_LIMITS, Limits
from tests.bench import ours, report
from tests.bench.ours import Worker
from tests.bench.places import Place, make_place
from tests.bench.quiet import elsewhere, forget_files, read_directly
from tests.bench.trees import make_large_files
from tests.live.pgbench import prepare
from tests.live.postgresql import Cluster, own

ROUNDS = 2
# Transactions a second: what two cores do without noticing, and most of what they can do.
_LOADS = {"calm database (100/s)": 100, "busy database (1500/s)": 1500}
_SECONDS = 18
_SETTLE_S = 3.0
_LATE_MS = 100.0
_SETTINGS = ("max_wal_size=1GB", "checkpoint_timeout=15min", "autovacuum_naptime=1min")
_IDLE = "no backup"
_CONTENDERS: dict[str, Limits | None] = {
    _IDLE: None,
    "unlimited": NO_LIMITS,
    "never idle nor paused": Limits(pressure_budget=None),
    "default limits": Limits(),
}


_HEAD = [
    "",
    "mean ms",
    "x idle",
    "ms more",
    "worst ms",
    "over 100 ms",
    "throughput x idle",
    "backup time x unlimited",
]


@dataclass(frozen=True, slots=True)
class Felt:
    """Transactions while a backup ran: latency from the planned start, share of late ones, a second."""

    mean_ms: float
    worst_ms: float
    late: float
    per_second: float
    backup_s: float = 0.0
    load: str = field(default_factory=report.say_load)


def run() -> None:
    ours.preload()
    os.environ["HOTFLEET_BENCH_DIR"] = "/dev/shm"
    rounds: dict[str, dict[str, list[Felt]]] = {load: defaultdict(list) for load in _LOADS}
    with make_place(size_mb=4500) as place, elsewhere() as move:
        read_directly(place.device.btrfs)
        make_large_files(place.source, count=12)
        own(place.device.btrfs / "pg")
        with Cluster(place.device.btrfs / "pg" / "data", *_SETTINGS).create() as cluster:
            prepare(cluster, scale=10)
            cluster.sql("vacuum analyze; checkpoint")
            for number, (load, rate) in product(range(1, ROUNDS + 1), _LOADS.items()):
                for name, limits in _CONTENDERS.items():
                    felt = _measure(place, cluster, limits, rate, move, seed=number)
                    rounds[load][name].append(felt)
                    said = f"{felt.mean_ms:.1f} ms on average, backup {felt.backup_s:.1f} s, {felt.load}"
                    report.say(f"   round {number}, {load}, {name}: {said}")
    for load, felt_there in rounds.items():
        _print(load, felt_there)


def _measure(
    place: Place,
    cluster: Cluster,
    limits: Limits | None,
    rate: int,
    move: Callable[[int], None],
    *,
    seed: int,
) -> Felt:
    """`seed`: of the times at which transactions are due, so that all of a round have the same."""
    with place.console() as console, tempfile.TemporaryDirectory(prefix="hotfleet-pgbench-") as folder:
        log = own(Path(folder) / "log")
        Path(folder).chmod(0o711)
        worker = None if limits is None else Worker(console, place.source, limits=limits)
        if worker is not None:
            move(worker.pid)  # before it has threads: they inherit it
        forget_files()
        words = ["-n", "-c", "4", "-j", "1", "-R", str(rate), "-T", str(_SECONDS), "-l"]
        words.append(f"--random-seed={seed}")
        client = cluster.popen("pgbench", *words, f"--log-prefix={log}/t", "postgres")
        time.sleep(_SETTLE_S)
        began, seconds = time.time(), float(_SECONDS)
        if worker is not None:
            worker.go()
            seconds = worker.join().whole_s
        said, _ = client.communicate()
        if client.returncode != 0:
            raise subprocess.CalledProcessError(client.returncode, "pgbench", said)
        return _read(log, began, seconds, 0.0 if worker is None else seconds)


def _read(log: Path, began: float, seconds: float, backup_s: float) -> Felt:
    """Given pgbench's log of single transactions, return what those felt that ended while the backup ran."""
    latencies, last = [], began
    for path in log.iterdir():
        for line in path.read_text().splitlines():
            _, _, microseconds, _, second, fraction, *_ = line.split()
            ended = int(second) + int(fraction) / 1e6
            if began <= ended <= began + seconds:
                latencies.append(int(microseconds) / 1000)
                last = max(last, ended)
    late = sum(latency > _LATE_MS for latency in latencies) / len(latencies)
    return Felt(fmean(latencies), max(latencies), late, len(latencies) / (last - began), backup_s)


def _print(load: str, rounds: dict[str, list[Felt]]) -> None:
    """The round with the median latency counts for each; of two the better one."""
    chosen = {
        name: sorted(felt, key=lambda each: each.mean_ms)[(len(felt) - 1) // 2]
        for name, felt in rounds.items()
    }
    idle, unlimited = chosen[_IDLE], chosen["unlimited"]
    rows = [
        [
            f"{load}, {name}",
            f"{felt.mean_ms:.1f}",
            f"{felt.mean_ms / idle.mean_ms:.2f}",
            f"{felt.mean_ms - idle.mean_ms:+.1f}",
            f"{felt.worst_ms:.0f}",
            f"{felt.late:.2%}",
            f"{felt.per_second / idle.per_second:.2f}",
            f"{felt.backup_s / unlimited.backup_s:.2f}" if felt.backup_s else "-",
        ]
        for name, felt in chosen.items()
    ]
    report.print_table(_HEAD, rows)
    ours_ = chosen["default limits"]
    report.print_budget(f"{load}, mean latency", ours_.mean_ms / idle.mean_ms, 1.25, unit=" x idle")
    report.say(f"{load}, mean latency: {ours_.mean_ms - idle.mean_ms:+.2f} ms")
    report.print_budget(f"{load}, over 100 ms", ours_.late * 100, 0.0, unit=" %")
    throughput = ours_.per_second / idle.per_second
    report.print_budget(f"{load}, throughput", throughput, 0.95, unit=" x idle", at_most=False)
    spread = " ".join(f"{felt.mean_ms:.1f}" for felt in rounds[_IDLE])
    report.say(f"{load}, no backup, each round: {spread} ms; what else runs here is in every figure")
