"""What an application counts of its own work, and what two counts mean. Pure.

A server counts from its start on. The difference of two looks is what it did in between: it is worth
something only when nobody started the server anew, and when both are some seconds apart (PostgreSQL tells its
counters once a second, its documentation "The Cumulative Statistics System").
"""

from __future__ import annotations

from typing import Final

from agents.facts import Instance

# Names of quantities, as events.Felt carries them.
TRANSACTIONS_S: Final = "transactions_s"
TRANSACTION_MS: Final = "transaction_ms"
COMMANDS_S: Final = "commands_s"
FORK_MS: Final = "fork_ms"

LEAST_S: Final = 5.0
_LONGEST_NUMBER: Final = 24


def read_count(instance: Instance, name: str) -> float | None:
    """Given an instance, return a number that its server said of itself, None when it said none."""
    text = instance.detail(name)
    try:
        value = float(text) if len(text) <= _LONGEST_NUMBER else -1.0
    except ValueError:
        return None
    return value if 0 <= value < 1e18 else None


def find_rise(earlier: Instance, later: Instance, name: str) -> float | None:
    """Return by how much a count rose between two looks, None when nobody knows."""
    before, after = read_count(earlier, name), read_count(later, name)
    return after - before if before is not None and after is not None and after >= before else None


def find_seconds(earlier: Instance, later: Instance, *, clock: str, started: str) -> float | None:
    """Given two looks, what the server's clock and its start are called there, return the seconds between
    them. None when they are too few, or it was started anew meanwhile."""
    if not earlier.detail(started) or earlier.detail(started) != later.detail(started):
        return None
    seconds = find_rise(earlier, later, clock)
    return seconds if seconds is not None and seconds >= LEAST_S else None
