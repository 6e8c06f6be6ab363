"""Times as people type them: "90 min", "26 h", "2 days". Pure."""

from __future__ import annotations

import re
from datetime import timedelta

_TYPED = re.compile(r"([0-9]{1,5})\s*([a-z]+)")
_UNITS = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_WORDS = {
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("h", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "week", "weeks"), "w"),
}


def parse_duration(text: str) -> timedelta:
    """Given "90 min", "26 h", "2 days" or "1 week", return it. Raise ValueError with an example otherwise."""
    match = _TYPED.fullmatch(text.strip().lower())
    if match is None or match[2] not in _WORDS or not match[0].isascii():
        raise ValueError("Write a whole number and a unit, like 90 min, 26 h or 2 days.")
    return int(match[1]) * _UNITS[_WORDS[match[2]]]


def show_duration(duration: timedelta) -> str:
    """Given whole minutes, return the text that parse_duration reads as the same time."""
    minutes = round(duration / timedelta(minutes=1))
    if minutes % 1440 == 0 and minutes >= 2880:
        return f"{minutes // 1440} days"
    return f"{minutes // 60} h" if minutes % 60 == 0 and minutes else f"{minutes} min"


_PAUSE = re.compile(r"([0-9]{1,6})\s*(ms|s|min|h)")
_MILLISECONDS = {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000}


def parse_pause(text: str) -> int:
    """Given "500 ms", "10 s", "2 min" or "1 h", return milliseconds. Raise ValueError with an example
    otherwise."""
    match = _PAUSE.fullmatch(text.strip().lower())
    if match is None or not match[0].isascii():
        raise ValueError("Write a whole number and a unit, like 500 ms, 10 s or 2 min.")
    return int(match[1]) * _MILLISECONDS[match[2]]


def show_pause(milliseconds: int) -> str:
    """Given milliseconds, return the text that parse_pause reads as the same time."""
    unit = next(
        (name for name in ("h", "min", "s") if milliseconds and milliseconds % _MILLISECONDS[name] == 0), "ms"
    )
    return f"{milliseconds // _MILLISECONDS[unit]} {unit}"
