"""Thirty devices at once through one machine's workers: memory of each, throughput, and who had to wait.

Each device has a subvolume of its own on one btrfs. With a btrfs each, every device would see those of all
(the ground's devices share this machine's mounts), and reading facts about 30 would be most of the work.
"""

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
from tests.live.machine import command as run_tool

DEVICES = 30


def run(count: int = DEVICES) -> None:
    ours.preload()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hotfleet-bench-")))
        devices = [stack.enter_context(Device(LogLevel="ERROR")) for _ in range(count + 1)]
        shared = devices[0].make_file_system("btrfs", size_mb=count * 110 + 2000)
        sources = [_make_source(shared, device) for device in devices]
        size_of_one, *sizes = (make_large_files(source, count=4, size_mb=25) for source in sources)
        consoles = [_make_console(device, folder) for device in devices]
        size = sum(sizes)
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


def _make_source(shared: Path, device: Device) -> Path:
    run_tool("btrfs", "subvolume", "create", shared / device.name)
    return shared / device.name / "data"


def _make_console(device: Device, folder: Path) -> Console:
    (folder / device.name).mkdir()
    return Console(device, folder / device.name)


def _print(figures: list[Figures], began: float, size: int, sampler: Sampler) -> None:
    ends = sorted(each.ended - began for each in figures)
    report.say(f"{len(figures)} devices at once: {size / MIB:.0f} MiB in {ends[-1]:.1f} s, "
               f"{size / MIB / ends[-1]:.0f} MiB/s, {report.say_load()}")  # fmt: skip
    report.say(f"they ended after {ends[0]:.1f} s (first), {statistics.median(ends):.1f} s (median), "
               f"{ends[-1]:.1f} s (last)")  # fmt: skip
    mean = sampler.highest_mean()
    report.say(f"private {mean.private / MIB:.1f} MiB a worker")
    report.print_budget("PSS a worker", mean.shared_fairly / MIB, 30, unit=" MiB")
    report.say(f"processor time of a worker: {statistics.mean(each.processor_s for each in figures):.1f} s")
    for phase in figures[0].phases:
        took = sorted(each.phases[phase] for each in figures)
        report.say(f"   {phase}: {took[0]:.1f} to {took[-1]:.1f} s")
