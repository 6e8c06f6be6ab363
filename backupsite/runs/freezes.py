"""The freeze receipt, as the page of the run shows it: what waited for how long, step by step, against the
limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString

from backupsite.runs.models import RunFreeze
from backupsite.web.charts import draw_freeze


@dataclass(frozen=True)
class ShownFreeze:
    """One receipt. `steps` are (name, milliseconds)."""

    what: str
    is_stop: bool
    is_over: bool
    milliseconds: float
    limit_ms: float
    drawing: SafeString
    steps: list[tuple[str, float]]


def show_freezes(freezes: Sequence[RunFreeze]) -> list[ShownFreeze]:
    """Given what is stored of a run, return its receipts, the longest of each kind first. Pure."""
    ordered = sorted(freezes, key=lambda freeze: (freeze.is_stop, -freeze.milliseconds))
    return [
        ShownFreeze(
            freeze.what,
            freeze.is_stop,
            freeze.milliseconds > freeze.limit_ms,
            freeze.milliseconds,
            freeze.limit_ms,
            draw_freeze(
                f"freeze-{number}",
                freeze.milliseconds / 1000,
                freeze.limit_ms / 1000,
                "stopped" if freeze.is_stop else "frozen",
            ),
            [(str(name), float(took)) for name, took in freeze.steps],
        )
        for number, freeze in enumerate(ordered)
    ]
