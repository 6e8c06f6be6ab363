"""Thirty devices at once through one machine's workers: memory of each, throughput, and who had to wait."""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from agents.runner import Limits
from tests.bench import ours, report
from tests.bench.ours import Figures, Worker
from tests.bench.processes import MIB, Sampler
from tests.bench.trees import make_large_files
from tests.live.flows import Console
from tests.live.ground import Device

DEVICES = 30


def run(count: int = DEVICES) -> None:
    ours.preload()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hotfleet-bench-")))
        consoles = [_make(stack, folder / str(number)) for number in range(count + 1)]
        sources = [console.device.btrfs / "data" for console in consoles]
        size = sum(make_large_files(source, count=4, size_mb=25) for source in sources[1:])
        size_of_one = make_large_files(sources[0], count=4, size_mb=25)
        alone = ours.measure(consoles[0], sources[0], limits=Limits())
        report.say(f"one device alone: {alone.whole_s:.1f} s, {size_of_one / MIB / alone.whole_s:.0f} MiB/s")
        workers = [
            Worker(console, source, limits=Limits())
            for console, source in zip(consoles[1:], sources[1:], strict=True)
        ]
        began = time.monotonic()
        with Sampler(lambda: [worker.pid for worker in workers], every_s=1.0) as sampler:
            for worker in workers:
                worker.go()
            figures = [worker.join() for worker in workers]
    _print(figures, began, size, sampler)


def _make(stack: ExitStack, folder: Path) -> Console:
    device = stack.enter_context(Device(LogLevel="ERROR"))
    device.make_file_system("btrfs", size_mb=300)
    folder.mkdir()
    return Console(device, folder)


def _print(figures: list[Figures], began: float, size: int, sampler: Sampler) -> None:
    ends = sorted(each.ended - began for each in figures)
    report.say(f"{len(figures)} devices at once: {size / MIB:.0f} MiB in {ends[-1]:.1f} s, "
               f"{size / MIB / ends[-1]:.0f} MiB/s, {report.say_load()}")  # fmt: skip
    report.say(f"they ended after {ends[0]:.1f} s (first), {statistics.median(ends):.1f} s (median), "
               f"{ends[-1]:.1f} s (last)")  # fmt: skip
    moving, at_most = sampler.highest_mean(max(each.transfer[0] for each in figures)), sampler.highest_mean()
    report.say(f"private {moving.private / MIB:.1f} MiB a worker once all keys are open")
    report.print_budget("PSS a worker once all keys are open", moving.shared_fairly / MIB, 30, unit=" MiB")
    report.say(
        f"at its highest, while many open their key: {at_most.shared_fairly / MIB:.1f} MiB PSS a worker"
    )
    report.say(f"processor time of a worker: {statistics.mean(each.processor_s for each in figures):.1f} s")
    for phase in figures[0].phases:
        took = sorted(each.phases[phase] for each in figures)
        report.say(f"   {phase}: {took[0]:.1f} to {took[-1]:.1f} s")
