"""What the bench prints: plain lines, figures of one run side by side, and the machine's load beside them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

Figure = TypeVar("Figure")
ROUNDS = 3


def print_head(name: str) -> None:
    """Print the bench's name, the machine and how busy it is: a figure means nothing without them."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    print(
        f"\n== {name}: {os.cpu_count()} cores ({model}), Linux {platform.release()}, {say_load()}", flush=True
    )


def say_load() -> str:
    return "load " + " ".join(f"{load:.1f}" for load in os.getloadavg())


def say(text: str) -> None:
    print(text, flush=True)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below their heads; the first column to the left, all others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    for row in [head, *rows]:
        first, *others = (
            word.ljust(width) if column == 0 else word.rjust(width)
            for column, (word, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]), flush=True)


def print_budget(what: str, value: float, budget: float, *, unit: str = "", at_most: bool = True) -> None:
    """Print a figure beside its budget. Nothing fails: who reads it decides."""
    is_kept = value <= budget if at_most else value >= budget
    sign = "<=" if at_most else ">="
    print(
        f"{what}: {value:.2f}{unit} (budget {sign} {budget:g}{unit}) {'kept' if is_kept else 'MISSED'}",
        flush=True,
    )


def take_turns(
    contenders: dict[str, Callable[[], Figure]], *, cost: Callable[[Figure], float], rounds: int = ROUNDS
) -> dict[str, Figure]:
    """Measure each contender once a round, one after the other, and return the cheapest figure of each.

    Taking turns spreads what else the machine does over all of them."""
    best: dict[str, Figure] = {}
    for number in range(1, rounds + 1):
        for name, measure in contenders.items():
            started = time.monotonic()
            figure = measure()
            if name not in best or cost(figure) < cost(best[name]):
                best[name] = figure
            say(
                f"   round {number}, {name}: {cost(figure):.2f} s"
                f" ({time.monotonic() - started:.1f} s with everything, {say_load()})"
            )
    return best
