"""Numbers and times as people read them. Pure; the template tags only wrap these."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

NBSP = "\u00a0"
THIN = "\u202f"
UNKNOWN = "–"
SIZE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def format_bytes(size_bytes: float | None) -> str:
    """Given a number of bytes, return it in SI units with one decimal ("41.2 GB", "512 B")."""
    if size_bytes is None:
        return UNKNOWN
    if abs(size_bytes) < 1000:
        return f"{round(size_bytes)}{NBSP}B"
    value, step = float(size_bytes), 0
    # 999.95 and not 1000: what would be rounded to "1000.0 kB" is "1.0 MB".
    while abs(value) >= (1000 if step == 0 else 999.95) and step < len(SIZE_UNITS) - 1:
        value, step = value / 1000, step + 1
    return f"{value:.1f}{NBSP}{SIZE_UNITS[step]}"


def format_rate(bytes_per_s: float | None) -> str:
    """Given bytes a second, return "118.0 MB/s"."""
    return UNKNOWN if bytes_per_s is None else f"{format_bytes(bytes_per_s)}/s"


def format_count(number: int | None) -> str:
    """Given a whole number, return it with thin spaces between thousands ("48 210")."""
    return UNKNOWN if number is None else f"{number:,}".replace(",", THIN)


def format_milliseconds(milliseconds: float | None) -> str:
    """Given milliseconds, return "0.4 ms", "420 ms", or seconds from 10,000 ms on."""
    if milliseconds is None:
        return UNKNOWN
    if milliseconds >= 10_000:
        return format_duration(milliseconds / 1000)
    if 0 < milliseconds < 10:
        return f"{max(milliseconds, 0.1):.1f}{NBSP}ms"
    return f"{milliseconds:.0f}{NBSP}ms"


def format_duration(duration: timedelta | float | None) -> str:
    """Given a timedelta or seconds, return its two largest units ("4 min 12 s", "0.42 s", "2.4 ms")."""
    if duration is None:
        return UNKNOWN
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if seconds < 0:
        return f"−{format_duration(-seconds)}"
    if 0 < seconds < 0.1:
        return format_milliseconds(seconds * 1000)
    if seconds < 9.95:
        digits = f"{seconds:.2f}" if 0 < seconds < 1 else f"{seconds:.1f}".removesuffix(".0")
        return f"{digits}{NBSP}s"
    return _two_units(round(seconds))


def _two_units(seconds: int) -> str:
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for (large, large_size), (small, small_size) in pairwise(units):
        if seconds >= large_size:
            rest = seconds % large_size // small_size
            tail = f" {rest}{NBSP}{small}" if rest else ""
            return f"{seconds // large_size}{NBSP}{large}{tail}"
    return f"{seconds}{NBSP}s"


def format_ago(moment: datetime, now: datetime) -> str:
    """Given two aware times, return their distance in one unit ("18 min ago", "in 4 min", "just now")."""
    seconds = round((now - moment).total_seconds())
    if abs(seconds) < 10:
        return "just now"
    distance = _one_unit(abs(seconds))
    return f"{distance} ago" if seconds > 0 else f"in {distance}"


def _one_unit(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds}{NBSP}s"
    if seconds < 3_600:
        return f"{seconds // 60}{NBSP}min"
    if seconds < 48 * 3_600:
        return f"{seconds // 3_600}{NBSP}h"
    if seconds < 60 * 86_400:
        return f"{seconds // 86_400}{NBSP}days"
    if seconds < 730 * 86_400:
        return f"{seconds // (30 * 86_400)}{NBSP}months"
    return f"{seconds // (365 * 86_400)}{NBSP}years"


def format_moment(moment: datetime) -> str:
    """Given an aware time in the zone to show, return "22 Nov 2026, 14:02:11 UTC"."""
    return f"{moment.day} {moment:%b %Y, %H:%M:%S %Z}"
