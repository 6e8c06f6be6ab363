"""Telling people: `tell` writes, in the transaction of what it tells of; `send_due` sends, in a worker.

A notice is never lost silently: each way to a target has a row with its attempts and its last result. Nothing
that a service does raises into the caller of `send_due`: what went wrong is in the row and in the log.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import F
from django.utils import timezone

from backupsite import vault
from backupsite.alerts.addresses import AddressRefused, load_plugin
from backupsite.alerts.models import Delivery, Notice, Target
from backupsite.alerts.sending import send
from backupsite.web.visible import make_visible

log = logging.getLogger(__name__)
TEST: Final = "test"
_WAITS: Final = tuple(timedelta(minutes=m) for m in (1, 5, 15, 60, 240))
# While a worker sends, nobody else does; if it dies, the next try is after this.
_CLAIM: Final = timedelta(minutes=2)


def tell(kind: str, key: str, title: str, text: str, url: str = "") -> bool:
    """Write a notice to all enabled targets, in the caller's transaction. The same key is told once.

    `url` is a path of this console. Return True when the notice is new.
    """
    return _tell(kind, key, title, text, url, list(Target.objects.filter(is_enabled=True)))


def tell_or_log(kind: str, key: str, title: str, text: str, url: str = "") -> None:
    """As `tell`, for a caller whose own result is stored even when the database refuses the notice: a run
    that cannot end keeps its device from all others. What nobody was told stands in the log."""
    try:
        with transaction.atomic():
            tell(kind, key, title, text, url)
    except DatabaseError:
        log.exception("A notice could not be written: %s", title)


def tell_test(target: Target) -> None:
    """Write a notice for one target alone, so that a person sees whether it works."""
    now = timezone.now()
    title = "Hotfleet: this is a test"
    text = f"Notices to “{target.name}” arrive. Failed and overdue backups will be told here."
    _tell(TEST, f"test-{target.pk}-{now.timestamp()}", title, text, "", [target])


def _tell(kind: str, key: str, title: str, text: str, url: str, targets: list[Target]) -> bool:
    now = timezone.now()
    with transaction.atomic():
        notice, is_new = Notice.objects.get_or_create(
            key=key[:120],
            defaults={
                "at": now,
                "kind": kind,
                "title": make_visible(title)[:200],
                "text": "\n".join(make_visible(line) for line in text.splitlines())[:4000],
                "url": url[:300],
                "sent_at": None if targets else now,
            },
        )
        if is_new:
            Delivery.objects.bulk_create(
                Delivery(notice=notice, target=target, target_name=target.name, next_at=now)
                for target in targets
            )
    return is_new


def send_due(limit: int = 20) -> int:
    """Send what is due, at most `limit` messages. Return how many arrived. For workers."""
    sent = 0
    due = Delivery.objects.filter(next_at__lte=timezone.now()).order_by("next_at")[:limit]
    for delivery in due.select_related("notice", "target"):
        if not _claim(delivery):
            continue
        problem = _deliver(delivery)
        _close(delivery, problem)
        sent += problem is None
    return sent


def _claim(delivery: Delivery) -> bool:
    """Take the right to one attempt. The conditional UPDATE decides between two workers."""
    now = timezone.now()
    mine = Delivery.objects.filter(pk=delivery.pk, next_at=delivery.next_at)
    return bool(mine.update(next_at=now + _CLAIM, attempts=F("attempts") + 1))


def _deliver(delivery: Delivery) -> str | None:
    """Return None when the message arrived, else one sentence without secrets."""
    target, notice = delivery.target, delivery.notice
    if target is None:
        return "The target was deleted."
    try:
        plugin = load_plugin(vault.unseal(owner_of(target), target.sealed_url))
    except (vault.VaultError, AddressRefused) as error:
        return str(error)
    return send(plugin, notice.title, notice.text + _link(notice))


def _link(notice: Notice) -> str:
    return f"\n\n{settings.HOTFLEET_ORIGINS[0]}{notice.url}" if notice.url else ""


def _close(delivery: Delivery, problem: str | None) -> None:
    now = timezone.now()
    delivery.refresh_from_db()
    delivery.sent_at = now if problem is None else None
    delivery.next_at = None if problem is None else _next_try(delivery, now)
    delivery.result = _word(problem, delivery.next_at)[:200]
    with transaction.atomic():
        delivery.save(update_fields=["sent_at", "next_at", "result"])
        if not Delivery.objects.filter(notice=delivery.notice_id, next_at__isnull=False).exists():
            Notice.objects.filter(pk=delivery.notice_id).update(sent_at=now)
    if problem is not None:
        log.warning("notice %s to %s: %s", delivery.notice_id, delivery.target_name, delivery.result)


def _next_try(delivery: Delivery, now: datetime) -> datetime | None:
    is_final = delivery.notice.kind == TEST or delivery.target_id is None or delivery.attempts > len(_WAITS)
    return None if is_final else now + _WAITS[delivery.attempts - 1]


def _word(problem: str | None, next_at: datetime | None) -> str:
    if problem is None:
        return "Sent."
    return problem if next_at is not None else f"Given up: {problem}"


def owner_of(target: Target) -> str:
    """Given a target, return the owner under which its address is sealed. The name never changes."""
    return f"alerts.target:{target.name}:url"
