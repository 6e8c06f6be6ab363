"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backupsite.web.formatting import (
    NBSP,
    THIN,
    format_ago,
    format_bytes,
    format_count,
    format_duration,
    format_milliseconds,
    format_moment,
    format_rate,
)

NOW = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)


def plain(text: str) -> str:
    return text.replace(NBSP, " ").replace(THIN, " ")


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (None, "–"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (41_200_000_000, "41.2 GB"),
        (-1500, "-1.5 kB"),
        (10**24, "1000000.0 EB"),
    ],
)
def test_bytes_are_si_with_one_decimal(size: int | None, words: str) -> None:
    assert plain(format_bytes(size)) == words


def test_a_rate_is_bytes_a_second() -> None:
    assert plain(format_rate(118_000_000)) == "118.0 MB/s"
    assert format_rate(None) == "–"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (0, "0 s"),
        (0.0024, "2.4 ms"),
        (0.042, "42 ms"),
        (0.42, "0.42 s"),
        (1.25, "1.2 s"),
        (5, "5 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (252, "4 min 12 s"),
        (3_600, "1 h"),
        (3_900, "1 h 5 min"),
        (273_600, "3 d 4 h"),
        (-3, "−3 s"),
        (timedelta(minutes=2), "2 min"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float | timedelta | None, words: str) -> None:
    assert plain(format_duration(seconds)) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (0, "0 ms"), (0.02, "0.1 ms"), (3.21, "3.2 ms"), (420, "420 ms"), (12_300, "12 s")],
)
def test_milliseconds(value: float | None, words: str) -> None:
    assert plain(format_milliseconds(value)) == words


def test_a_count_has_thin_spaces() -> None:
    assert format_count(1_234_567) == f"1{THIN}234{THIN}567"
    assert format_count(12) == "12"


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=-3), "just now"),
        (timedelta(seconds=45), "45 s ago"),
        (timedelta(minutes=18), "18 min ago"),
        (timedelta(hours=31), "31 h ago"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=90), "3 months ago"),
        (timedelta(days=800), "2 years ago"),
        (timedelta(minutes=-4), "in 4 min"),
    ],
)
def test_the_distance_of_a_moment_has_one_unit(age: timedelta, words: str) -> None:
    assert plain(format_ago(NOW - age, NOW)) == words


def test_a_moment_names_its_zone() -> None:
    assert format_moment(NOW) == "22 Nov 2026, 14:00:00 UTC"
