"""How each value of a policy is written in a file, and read from it: in the words of the form. Pure.

A `read` raises ValueError with one sentence. What `write` gives is read as the same value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any

from django.core.exceptions import ValidationError

from backupsite.policies.copy_form import LONGEST as LONGEST_COPY
from backupsite.policies.copy_form import SHORTEST as SHORTEST_COPY
from backupsite.policies.durations import parse_duration, show_duration
from backupsite.policies.retention import MOST_OF_A_PERIOD, SHORTEST_REST
from backupsite.policies.retention_form import LONGEST_REST
from backupsite.policies.schedule import LONGEST_SPREAD, WEEKDAYS, find_zone
from backupsite.policies.window_form import read_target, read_time

Plain = str | int | bool | list[Any] | dict[str, Any]
NONE = "none"
AUTOMATIC = "automatic"
EVERY_DAY = "every day"
ALL_DAYS = "0123456"
FASTEST_MB_S = 100_000
LONGEST = timedelta(days=36_600)


@dataclass(frozen=True)
class Value:
    """The two directions of one kind of value."""

    read: Callable[[str], Any]
    write: Callable[[Any], Plain]


def _read_switch(text: str) -> bool:
    if (word := text.lower()) in {"true", "yes", "on", "false", "no", "off"}:
        return word in {"true", "yes", "on"}
    raise ValueError("Write true or false.")


def one_of(words: Mapping[Any, str]) -> Value:
    """Given the words of values, return how they are read and written."""
    values = {word: value for value, word in words.items()}

    def read(text: str) -> Any:
        if (word := " ".join(text.lower().split())) in values:
            return values[word]
        raise ValueError(f"Write one of: {', '.join(values)}.")

    return Value(read, lambda value: words[value])


def maybe(value: Value, nothing: str = NONE) -> Value:
    """Given a value, return one that may also be None, in a word."""
    return Value(
        lambda text: None if text.lower() in {nothing, "null", "~", ""} else value.read(text),
        lambda stored: nothing if stored is None else value.write(stored),
    )


def count(least: int, most: int) -> Value:
    """Given limits, return how a whole number between them is read."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
            raise ValueError(f"Write a whole number from {least} to {most}.")
        return int(text)

    return Value(read, int)


def _read_rate(text: str) -> int:
    word = text.lower().removesuffix("mb/s").strip()
    return int(count(1, FASTEST_MB_S).read(word))


def _read_duration(text: str) -> timedelta:
    duration = parse_duration(text)
    if duration > LONGEST:
        raise ValueError("At most 100 years.")
    return duration


def _read_spread(text: str) -> int:
    minutes = parse_duration(text) // timedelta(minutes=1)
    if minutes > LONGEST_SPREAD:
        raise ValueError(f"At most {show_duration(timedelta(minutes=LONGEST_SPREAD))}.")
    return minutes


def _read_rest(text: str) -> timedelta:
    rest = _read_duration(text)
    if not SHORTEST_REST <= rest <= LONGEST_REST:
        raise ValueError("Write something between 1 d and 366 days.")
    return rest


def _read_copy_keep(text: str) -> timedelta:
    keep = _read_duration(text)
    if not SHORTEST_COPY <= keep <= LONGEST_COPY:
        raise ValueError("Write something between 1 d and 3660 d.")
    return keep


def _read_interval(text: str) -> int:
    # The schedule says which ones it takes.
    return parse_duration(text) // timedelta(minutes=1)


def _read_target(text: str) -> timedelta:
    try:
        return read_target(text)
    except ValidationError as error:
        raise ValueError(error.message) from None


def read_clock(text: str) -> time:
    """Given 02:30, return it."""
    try:
        return read_time(text)
    except ValidationError as error:
        raise ValueError(error.message) from None


def read_weekday(text: str) -> int:
    """Given a day's name, return its number; 0 is Monday."""
    if (name := text.capitalize()) in WEEKDAYS:
        return WEEKDAYS.index(name)
    raise ValueError(f"“{text[:40]}” is no day. Write one of: {', '.join(WEEKDAYS)}.")


def read_day_and_time(text: str) -> tuple[int, time]:
    """Given "Sunday 03:00", return the day's number and the time."""
    day, _, clock = text.strip().partition(" ")
    if not clock:
        raise ValueError("Write the day and the time, like Sunday 03:00.")
    return read_weekday(day), read_clock(clock)


SWITCH = Value(_read_switch, bool)
ZONE = Value(lambda text: find_zone(text).key, str)
KEPT = count(0, MOST_OF_A_PERIOD)
PROBLEMS = count(0, 1_000_000)
RATE = Value(_read_rate, lambda value: f"{value} MB/s")
DURATION = Value(_read_duration, show_duration)
REST = Value(_read_rest, show_duration)
COPY_KEEP = Value(_read_copy_keep, show_duration)
TARGET = Value(_read_target, show_duration)
INTERVAL = Value(_read_interval, lambda minutes: show_duration(timedelta(minutes=minutes)))
SPREAD = Value(_read_spread, lambda minutes: show_duration(timedelta(minutes=minutes)))
