"""One million small files, once: seconds, and the memory of restic on the device and of the worker."""

from __future__ import annotations

import time

from agents.runner import Limits
from tests.bench import ours, report
from tests.bench.places import make_place
from tests.bench.processes import MIB
from tests.bench.trees import make_small_files


def run(count: int = 1_000_000) -> None:
    ours.preload()
    with make_place(size_mb=12_000) as place, place.console() as console:
        began = time.monotonic()
        size = make_small_files(place.source, count=count, smallest=100, largest=1900)
        report.say(f"{count:,} files, {size / MIB:.0f} MiB, made in {time.monotonic() - began:.0f} s")
        runs = {
            name: ours.measure(console, place.source, limits=Limits(), memory=True)
            for name in ("first backup", "nothing changed")
        }
        stored = console.repository_bytes()
    report.print_table(
        ["default limits", "whole s", "restic's s", "worker CPU s", "restic MiB", "worker MiB", "private"],
        [
            [
                name, f"{each.whole_s:.1f}", f"{each.engine_s:.1f}", f"{each.processor_s:.1f}",
                f"{each.restic.shared_fairly / MIB:.0f}", f"{each.worker.shared_fairly / MIB:.1f}",
                f"{each.worker.private / MIB:.1f}",
            ]
            for name, each in runs.items()
        ],
    )  # fmt: skip
    for name, each in runs.items():
        report.say(f"{name}: " + ", ".join(f"{phase} {took:.1f}" for phase, took in each.phases.items()))
    a_file = runs["first backup"].restic.private / count
    report.say(
        f"memory is PSS; restic on the device {a_file:.0f} B a file; repository {stored / MIB:.0f} MiB"
    )
