"""Limits guessing of passwords, in the database, so that a restart or a second process forgets nothing.

Limited is (name, address), and the address alone. Nobody is ever locked out for good: a wait is at most 15
minutes, and a browser that has signed in as this person before is counted by itself, so that a stranger who
floods the login page (even from the same address, behind a proxy) does not keep the administrator out.
An attempt is counted BEFORE the password is checked: a burst in parallel gains nothing.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from backupsite.accounts.models import SignInAttempts

FREE_PER_NAME: Final = 5
FREE_PER_ADDRESS: Final = 30
FIRST_WAIT_S: Final = 10
LONGEST_WAIT_S: Final = 900
FORGET_AFTER: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Limit:
    """What is counted. `free` attempts cost no wait; a personal count is cleared by a success."""

    key: str
    free: int
    is_personal: bool = True


def limits_of(name: str, address: str, known_browser: str = "") -> list[Limit]:
    """Given who tries to sign in from where, return the limits, in the one order that everybody takes."""
    person = name.casefold()
    if known_browser:
        return [Limit(_key("browser", person, known_browser), FREE_PER_NAME)]
    network = _network(address)
    return [
        Limit(_key("address", network), FREE_PER_ADDRESS, is_personal=False),
        Limit(_key("name", person, network), FREE_PER_NAME),
    ]


def take_attempt(limits: list[Limit]) -> int:
    """Count one attempt. Return 0 when it may go on, else the seconds to wait (and nothing is counted)."""
    now = timezone.now()
    with transaction.atomic():
        rows = [_locked_row(limit.key, now) for limit in limits]
        wait = max((row.blocked_until - now).total_seconds() if row.blocked_until else 0 for row in rows)
        if wait > 0:
            return int(wait) + 1
        for row, limit in zip(rows, limits, strict=True):
            _count(row, limit.free, now)
    return 0


def forget(limits: list[Limit]) -> None:
    """The attempt succeeded: clear the person's count and take it back from the address.

    The address keeps the rest, or one valid account would free all guessing from there.
    """
    for limit in limits:
        row = SignInAttempts.objects.filter(key=limit.key)
        if limit.is_personal:
            row.delete()
        else:
            row.filter(count__gt=0).update(count=F("count") - 1)


def forget_everything() -> None:
    """Let everybody try again at once (a person with a shell asked for it)."""
    SignInAttempts.objects.all().delete()


def clear_old() -> None:
    """Remove counts that no longer matter."""
    SignInAttempts.objects.filter(last_at__lt=timezone.now() - FORGET_AFTER).delete()


def _locked_row(key: str, now: datetime) -> SignInAttempts:
    SignInAttempts.objects.get_or_create(key=key, defaults={"last_at": now})
    row = SignInAttempts.objects.select_for_update().get(key=key)
    if row.last_at < now - FORGET_AFTER:
        row.count, row.blocked_until = 0, None
    return row


def _count(row: SignInAttempts, free: int, now: datetime) -> None:
    row.count, row.last_at = row.count + 1, now
    if row.count >= free:
        wait = min(FIRST_WAIT_S * 2 ** min(row.count - free, 10), LONGEST_WAIT_S)
        row.blocked_until = now + timedelta(seconds=wait)
    row.save()


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _network(address: str) -> str:
    # One household or server rents a whole /64: single IPv6 addresses cost nothing.
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)
