"""The first full backup: through our tunnel, through OpenSSH's `-R`, and into a local repository."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.bench import ours, report, rivals
from tests.bench.ours import Figures
from tests.bench.places import Place, make_place
from tests.bench.trees import make_large_files, make_small_files
from tests.live.flows import Console

MIB = 1024 * 1024


def run() -> None:
    ours.preload()
    _compare("1 GiB in 8 files", make_large_files, size_mb=3000)
    _compare("50,000 small files", lambda folder: make_small_files(folder, count=50_000), size_mb=3000)


def _compare(what: str, fill: Callable[[Path], int], *, size_mb: int) -> None:
    with make_place(size_mb=size_mb) as place:
        size = fill(place.source)
        report.say(f"\n{what}: {size / MIB:.0f} MiB, limits off on both sides")

        def with_console(back_up: Callable[[Console, Path], Figures]) -> Callable[[], Figures]:
            return lambda: _measure(place, back_up)

        best = report.take_turns(
            {
                "ours": with_console(ours.measure),
                "OpenSSH -R": with_console(rivals.run_openssh),
                "local": with_console(rivals.run_local),
            },
            cost=lambda figures: figures.engine_s,
        )
        _print(best, size)


def _measure(place: Place, back_up: Callable[[Console, Path], Figures]) -> Figures:
    with place.console() as console:
        return back_up(console, place.source)


def _print(best: dict[str, Figures], size: int) -> None:
    mine = best["ours"]
    report.print_table(
        ["", "restic's own s", "whole s", "MiB/s", "speed, OpenSSH's = 1"],
        [
            [
                name, f"{each.engine_s:.2f}", f"{each.whole_s:.2f}", f"{size / MIB / each.engine_s:.1f}",
                f"{best['OpenSSH -R'].engine_s / each.engine_s:.2f}",
            ]
            for name, each in best.items()
        ],
    )  # fmt: skip
    report.say(f"our worker used {mine.processor_s:.1f} s of processor time")
    report.print_budget("ours / OpenSSH's", best["OpenSSH -R"].engine_s / mine.engine_s, 0.9, at_most=False)
