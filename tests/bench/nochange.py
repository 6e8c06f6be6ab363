"""A backup of 50,000 files of which none changed: the whole run, beside restic on a local repository."""

from __future__ import annotations

from collections.abc import Callable

from agents.runner import Limits
from tests.bench import ours, report, rivals
from tests.bench.ours import Figures
from tests.bench.places import make_place
from tests.bench.trees import make_small_files


def run(count: int = 50_000) -> None:
    ours.preload()
    with make_place(size_mb=3000) as place, place.console() as console, place.console() as by_hand:
        rivals.make_ordinary(by_hand)
        make_small_files(place.source, count=count)
        ours.measure(console, place.source)
        rivals.run_local(by_hand, place.source, live=True)
        contenders: dict[str, Callable[[], Figures]] = {
            "ours, limits off": lambda: ours.measure(console, place.source),
            "ours, default limits": lambda: ours.measure(console, place.source, limits=Limits()),
            "local, fresh snapshot": lambda: rivals.run_local(console, place.source),
            "local, by hand": lambda: rivals.run_local(by_hand, place.source, live=True),
        }
        best = report.take_turns(contenders, cost=lambda figures: figures.whole_s, rounds=5)
    report.print_table(
        ["", "whole s", "restic's own s"],
        [[name, f"{each.whole_s:.2f}", f"{each.engine_s:.2f}"] for name, each in best.items()],
    )
    mine, local = best["ours, limits off"], best["local, by hand"]
    report.say("phases of ours: " + ", ".join(f"{name} {took:.2f}" for name, took in mine.phases.items()))
    report.print_budget("ours - restic by hand", mine.whole_s - local.whole_s, 0.5, unit=" s")
    snapshot = best["local, fresh snapshot"]
    report.say(f"ours - restic on a fresh snapshot with a run key: {mine.whole_s - snapshot.whole_s:.2f} s")
