"""One clock for all machines: the database's. A moment that one machine writes and another one judges (until
when a lease lasts, when a node was heard) is a moment of this clock, whatever their own ones say."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.utils import timezone

_ASK = {
    "postgresql": "SELECT clock_timestamp()",
    # A file's clock is that of the machine that asks: no other one can.
    "sqlite": "SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')",
}


def now() -> datetime:
    """Return what the database's clock says. Runs one query."""
    with connection.cursor() as cursor:
        cursor.execute(_ASK[connection.vendor])
        (there,) = cursor.fetchone()
    moment = there if isinstance(there, datetime) else datetime.fromisoformat(there)
    return moment.astimezone(UTC)


def offset() -> timedelta:
    """Return how far the database's clock is ahead of this machine's. Runs one query."""
    return _compare()[0]


def apart() -> timedelta:
    """Return how far this machine's clock and the database's are apart at least: a slow answer says less.
    Runs one query."""
    ahead, doubt = _compare()
    return max(abs(ahead) - doubt, timedelta(0))


def _compare() -> tuple[timedelta, timedelta]:
    """Return how far the database is ahead, and how wrong that may be: it answered while we waited."""
    before, started = timezone.now(), time.monotonic()
    there = now()
    half = timedelta(seconds=(time.monotonic() - started) / 2)
    return there - (before + half), half
