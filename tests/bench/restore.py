"""A restore by Hotfleet (tunnel, staging, swap), by restic through `ssh -R`, by restic alone; one of many."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from agents.events import CommandRan, Event, Phase, PhaseEnded, PhaseStarted, Said
from tests.bench import ours, report, rivals
from tests.bench.ours import Figures
from tests.bench.places import Place, make_place
from tests.bench.trees import make_large_files, make_small_files
from tests.live.flows import Console

MIB = 1024 * 1024
_NUMBERS = itertools.count(1)


def run(*, size_mb: int = 128, count: int = 50_000, many: int = 1_000_000) -> None:
    ours.preload()
    _compare(f"{8 * size_mb} MiB in 8 files", lambda folder: make_large_files(folder, size_mb=size_mb))
    _compare(f"{count:,} small files", lambda folder: make_small_files(folder, count=count))
    _pick_one(many)


def _compare(what: str, fill: Callable[[Path], int]) -> None:
    with make_place(size_mb=6000) as place, place.console() as console:
        size = fill(place.source)
        (point,) = console.back_up(place.source).points
        report.say(f"\n{what}: {size / MIB:.0f} MiB, compared afterwards and on the disk for all")

        def into_fresh(restore: Callable[[Console, str, Path, Path], Figures]) -> Callable[[], Figures]:
            return lambda: _measure(place, console, point.restic_id, restore)

        best = report.take_turns(
            {
                "ours": into_fresh(_restore),
                "OpenSSH -R": into_fresh(rivals.restore_openssh),
                "local": into_fresh(rivals.restore_local),
            },
            cost=lambda figures: figures.engine_s,
        )
    report.print_table(
        ["", "transfer s", "whole s", "MiB/s", "speed, OpenSSH's = 1"],
        [
            [
                name, f"{each.engine_s:.2f}", f"{each.whole_s:.2f}", f"{size / MIB / each.engine_s:.1f}",
                f"{best['OpenSSH -R'].engine_s / each.engine_s:.2f}",
            ]
            for name, each in best.items()
        ],
    )  # fmt: skip
    ratio = best["OpenSSH -R"].engine_s / best["ours"].engine_s
    report.print_budget("ours / OpenSSH's", ratio, 0.9, at_most=False)


def _measure(
    place: Place, console: Console, restic_id: str, restore: Callable[[Console, str, Path, Path], Figures]
) -> Figures:
    target = place.device.btrfs / f"target-{next(_NUMBERS)}"
    try:
        return restore(console, restic_id, place.source, target)
    finally:
        shutil.rmtree(target)


def _restore(console: Console, restic_id: str, folder: Path, target: Path) -> Figures:
    """`engine_s` is the transfer without our commands: what the others are measured by as a whole."""
    spent: list[float] = []

    def tell(event: Event) -> None:
        if event == PhaseStarted(Phase.TRANSFER):
            spent.clear()
        if isinstance(event, CommandRan) and "settle_down" not in event.line:
            spent.append(-event.seconds)
        if isinstance(event, PhaseEnded) and event.phase is Phase.TRANSFER:
            spent.append(event.seconds)
            figures.append(sum(spent))

    figures: list[float] = []
    console.tell = tell  # type: ignore[method-assign]  # the bench listens
    began = time.monotonic()
    console.restore(restic_id, folder, target, is_whole_system=False, limits=ours.UNLIMITED)
    return Figures(time.monotonic() - began, figures[0])


def _pick_one(count: int) -> None:
    with make_place(size_mb=4000 + count // 100) as place, place.console() as console:
        make_small_files(place.source, count=count, smallest=100, largest=1900)
        (point,) = console.back_up(place.source).points
        number = count // 2
        name = f"{number // 500 // 40:03d}/{number // 500:05d}/f{number:07d}.dat"
        console.back_up(place.source)  # nothing of the first one is in a cache that only it would have
        best: list[tuple[float, float, list[tuple[str, float]]]] = []
        for turn in range(3):
            best.append(_fetch(console, point.restic_id, place, name, turn))
    came_s, whole_s, steps = min(best)
    report.say(f"\none file out of {count:,}: there after {came_s:.2f} s, clean after {whole_s:.2f} s")
    for line, took in steps:
        report.say(f"   {took * 1000:6.0f} ms  {line[:80]!r}")
    report.print_budget("one file", came_s, 3, unit=" s")


def _fetch(
    console: Console, restic_id: str, place: Place, name: str, turn: int
) -> tuple[float, float, list[tuple[str, float]]]:
    steps: list[tuple[str, float]] = []
    came: list[float] = []

    def tell(event: Event) -> None:
        if isinstance(event, Said) and "were restored" in event.text:
            came.append(time.monotonic())
        if isinstance(event, CommandRan | PhaseEnded):
            steps.append(
                (getattr(event, "line", "") or f"phase {getattr(event, 'phase', '')}", event.seconds)
            )

    console.tell = tell  # type: ignore[method-assign]  # the bench listens
    began = time.monotonic()
    console.restore(
        restic_id, place.source, place.device.btrfs / f"one-{turn}", names=[name], limits=ours.UNLIMITED
    )
    return came[0] - began, time.monotonic() - began, steps
