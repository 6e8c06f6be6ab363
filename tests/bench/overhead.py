"""What one small run costs besides restic: everything from the connection to the clean device."""

from __future__ import annotations

from tests.bench import ours, report, rivals
from tests.bench.places import make_place
from tests.bench.trees import make_small_files

_SHOWN = 12


def run() -> None:
    ours.preload()
    with make_place(size_mb=512) as place, place.console() as console:
        make_small_files(place.source, count=20)
        ours.measure(console, place.source)
        best = report.take_turns(
            {
                "ours": lambda: ours.measure(console, place.source),
                "restic alone": lambda: rivals.run_local(console, place.source),
            },
            cost=lambda figures: figures.whole_s,
            rounds=5,
        )
    mine, alone = best["ours"], best["restic alone"]
    report.print_table(["phase", "s"], [[name, f"{took:.3f}"] for name, took in mine.phases.items()])
    report.say(f"the {_SHOWN} slowest commands on the device of {len(mine.commands)}:")
    for line, took in sorted(mine.commands, key=lambda each: -each[1])[:_SHOWN]:
        report.say(f"   {took * 1000:6.0f} ms  {line[:80]!r}")
    report.say(f"our worker used {mine.processor_s:.2f} s of processor time")
    report.say(f"whole {mine.whole_s:.2f} s; restic alone with a run key {alone.whole_s:.2f} s")
    report.print_budget("overhead", mine.whole_s - alone.whole_s, 1.5, unit=" s")
