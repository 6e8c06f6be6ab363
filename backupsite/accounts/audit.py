"""The audit trail: append-only and hash-chained.

Each event's hash covers the event and the hash before it, so that an edited, inserted or removed event
breaks the chain. Cut off at its end, a chain still looks whole: the newest hash must be compared with one
that was written down elsewhere (`manage.py verify_audit` prints it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.db import connection, transaction
from django.http import HttpRequest
from django.utils import timezone

from backupsite.accounts.models import AuditEvent

Detail = Mapping[str, "str | int | bool | list[str] | list[int] | None"]
GENESIS: Final = "0" * 64
_LOCK: Final = 0x686F7461  # "hota": the advisory lock that orders writers on PostgreSQL


@dataclass(frozen=True)
class Chain:
    """What `verify_chain` found. `broken_id` is the first event that does not fit, None when all fit."""

    count: int
    newest_hash: str
    broken_id: int | None


def record(
    actor: str | HttpRequest, verb: str, subject: str, detail: Detail | None = None, *, address: str = ""
) -> None:
    """Append one event in the caller's transaction: it exists when, and only when, what it tells of does.

    Given a request as the actor, the signed-in person and the address are taken from it. Texts may hold
    anything a device said: what a database cannot store is written as escapes. Raise TypeError when the
    detail holds a float or an object: its text could differ between two databases.
    """
    if isinstance(actor, HttpRequest):
        address = address or str(actor.META.get("REMOTE_ADDR", ""))
        actor = actor.user.get_username() or "stranger"
    with transaction.atomic():
        _wait_for_turn()
        newest = AuditEvent.objects.order_by("-id").values_list("hash", flat=True).first()
        event = AuditEvent(
            at=timezone.now(),
            actor=_storable(actor, 64),
            address=_storable(address, 64),
            verb=_storable(verb, 64),
            subject=_storable(subject, 200),
            detail={name: _storable_value(name, value) for name, value in (detail or {}).items()},
            previous_hash=newest or GENESIS,
        )
        event.hash = _hash(event)
        event.save(force_insert=True)


def verify_chain() -> Chain:
    """Read the whole trail and check every link. Runs one query, a few events in memory at a time."""
    expected, count = GENESIS, 0
    for event in AuditEvent.objects.order_by("id").iterator(chunk_size=500):
        if event.previous_hash != expected or event.hash != _hash(event):
            return Chain(count, expected, event.pk)
        expected, count = event.hash, count + 1
    return Chain(count, expected, None)


def _hash(event: AuditEvent) -> str:
    at: datetime = event.at.astimezone(UTC)
    parts = [
        event.previous_hash, at.isoformat(timespec="microseconds"), event.actor, event.address,
        event.verb, event.subject, event.detail,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _wait_for_turn() -> None:
    # SQLite: the transaction is IMMEDIATE, so writers already queue.
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _storable(text: str, length: int | None = None) -> str:
    clean = text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return clean[:length]


def _storable_value(name: str, value: object) -> object:
    if isinstance(value, list):
        return [_storable_value(name, item) for item in value]
    if isinstance(value, str):
        return _storable(value)
    if value is None or isinstance(value, int):
        return value
    raise TypeError(f"audit detail {name!r} holds a {type(value).__name__}")
