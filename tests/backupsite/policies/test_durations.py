from __future__ import annotations

from datetime import timedelta

import pytest

from backupsite.policies.durations import parse_duration, show_duration


@pytest.mark.parametrize(
    ("typed", "minutes"),
    [("90 min", 90), ("90m", 90), ("2 h", 120), ("26 Hours", 1560), ("2 days", 2880), ("1 week", 10080)],
)
def test_what_people_type(typed: str, minutes: int) -> None:
    assert parse_duration(typed) == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "typed",
    ["", "2", "h", "-1 h", "1.5 h", "1e9 h", "٢ h", "2 fortnights", "999999 h", "1 h 5 min", "0x10 h"],
)
def test_it_asks_again(typed: str) -> None:
    with pytest.raises(ValueError, match="like 90 min"):
        parse_duration(typed)


@pytest.mark.parametrize("minutes", [5, 59, 60, 90, 120, 1440, 1500, 1560, 2880, 4320])
def test_what_is_shown_reads_as_the_same(minutes: int) -> None:
    duration = timedelta(minutes=minutes)
    assert parse_duration(show_duration(duration)) == duration
