"""What two looks at a server say of its work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agents.applications import applications
from agents.applications.work import COMMANDS_S, FORK_MS, TRANSACTION_MS, TRANSACTIONS_S
from agents.facts import Detail, Instance

COUNTED = {"started_at": "100.5", "counted_at": "1000.0", "transactions": "50000", "active_ms": "8000.0"}
LATER = {"started_at": "100.5", "counted_at": "1010.0", "transactions": "51000", "active_ms": "9000.0"}
SERVED = {"run_id": "a", "uptime_in_seconds": "10", "total_commands_processed": "5", "latest_fork_usec": "0"}
SERVED_LATER = {
    "run_id": "a", "uptime_in_seconds": "20", "total_commands_processed": "105", "latest_fork_usec": "23000",
}  # fmt: skip


def seen(said: dict[str, str]) -> Instance:
    made = Instance("any", "15/main", "PostgreSQL 15/main", "15.3", (), "", is_running=True)
    return replace(made, details=tuple(Detail(name, value) for name, value in said.items()))


def work(name: str, earlier: dict[str, str], later: dict[str, str]) -> dict[str, float]:
    return dict(applications()[name].work(seen(earlier), seen(later)))


def test_postgresql_tells_transactions_and_how_long_they_took() -> None:
    assert work("postgresql", COUNTED, LATER) == {TRANSACTIONS_S: 100.0, TRANSACTION_MS: 1.0}


def test_an_old_postgresql_tells_no_time() -> None:
    old = {name: value for name, value in LATER.items() if name != "active_ms"}
    assert work("postgresql", COUNTED, old) == {TRANSACTIONS_S: 100.0}


def test_an_idle_one_has_no_time_of_a_transaction() -> None:
    assert work("postgresql", COUNTED, COUNTED | {"counted_at": "1010.0"}) == {TRANSACTIONS_S: 0.0}


def test_redis_tells_commands_and_its_fork_when_there_was_one() -> None:
    assert work("redis", SERVED, SERVED_LATER) == {COMMANDS_S: 10.0, FORK_MS: 23.0}
    unforked = SERVED | {"latest_fork_usec": "23000"}
    assert work("redis", unforked, SERVED_LATER) == {COMMANDS_S: 10.0}


@pytest.mark.parametrize(
    "change",
    [
        {"started_at": "900.0"},  # started anew
        {"started_at": ""},
        {"counted_at": "1001.0"},  # the counters are not told more often
        {"counted_at": "900.0"},  # the clock was set back
        {"transactions": "3"},  # somebody reset the statistics
        {"transactions": "nan"},
        {"transactions": "-1"},
        {"transactions": "9" * 400},
        {"counted_at": "x"},
    ],
)
def test_what_nobody_can_know_is_not_told(change: dict[str, str]) -> None:
    assert work("postgresql", COUNTED, LATER | change) == {}


def test_others_tell_nothing() -> None:
    assert work("sqlite", COUNTED, LATER) == {}
