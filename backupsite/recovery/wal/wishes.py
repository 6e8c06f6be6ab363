"""Which logs policies want followed. A step of the tick makes missing streams, and ends unwanted ones."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet

from agents.wal.words import make_slot_name
from backupsite.accounts import audit
from backupsite.policies.models import PolicyDevice, Source
from backupsite.recovery.wal_models import WalStream
from backupsite.runs.due import SCHEDULE

POSTGRESQL = "postgresql"
HOT = Q(policy__sources__mode__in=(Source.HOT, Source.BOTH))


class Wish(NamedTuple):
    """A log that a policy wants."""

    device_id: int
    instance: str


def list_wishes() -> dict[Wish, int]:
    """Return each wanted log with its policy. Of two policies the older one wants it. Runs one query."""
    keeping = Q(policy__sources__keeps_log=True, policy__sources__application=POSTGRESQL)
    # All in one filter: it is one and the same source that is hot and keeps its log.
    rows = PolicyDevice.objects.filter(keeping & HOT, policy__is_enabled=True, device__retired_at=None)
    found = rows.annotate(instance=F("policy__sources__instance")).values_list(
        "device_id", "instance", "policy_id"
    )
    wishes: dict[Wish, int] = {}
    for device, instance, policy in found.order_by("-policy_id"):
        wishes[Wish(device, instance)] = policy
    return wishes


def look(now: datetime) -> None:
    """A step of the tick: have every wish a stream, and every stream without a wish its end."""
    wishes = list_wishes()
    for stream in WalStream.objects.select_related("device"):
        policy = wishes.pop(Wish(stream.device_id, stream.instance), None)
        if policy is None:
            end(stream)
        elif not stream.is_wanted:
            begin_again(stream, policy, now)
        elif stream.policy_id != policy:
            WalStream.objects.filter(pk=stream.pk).update(policy=policy)
    for wish, policy in wishes.items():
        begin(wish, policy, now)


@transaction.atomic
def begin(wish: Wish, policy: int, now: datetime) -> None:
    """Make the stream of a wish. Two ticks at once make one."""
    key = uuid.uuid4()
    stream, is_new = WalStream.objects.get_or_create(
        device_id=wish.device_id,
        instance=wish.instance,
        defaults={
            "id": key,
            "policy_id": policy,
            "wanted_at": now,
            "slot": make_slot_name(settings.CONSOLE_ID, key.hex[:16]),
        },
    )
    if is_new:
        _note("log.on", stream)


@transaction.atomic
def begin_again(stream: WalStream, policy: int, now: datetime) -> None:
    """Want a stream again that was turned off, or is just being."""
    state = WalStream.WAITING
    if _of(stream, is_wanted=False).update(
        is_wanted=True, policy=policy, wanted_at=now, state=state, told_at=None, **QUIET
    ):
        _note("log.on", stream)


@transaction.atomic
def end(stream: WalStream) -> None:
    """Want a stream no more. Its slot is removed from the device by who follows streams; without one it is
    off at once."""
    for has_slot, state in ((False, WalStream.OFF), (True, WalStream.ENDING)):
        wanted = _of(stream, is_wanted=True, has_slot=has_slot)
        if wanted.update(is_wanted=False, state=state, told_at=None, **QUIET):
            _note("log.off", stream)


# What was wrong, and when to try again, said about what was wanted before.
QUIET: dict[str, Any] = {
    "problem": "", "remedy": "", "problem_at": None, "failures": 0, "next_try_at": None,
}  # fmt: skip


def _of(stream: WalStream, **fields: bool) -> QuerySet[WalStream]:
    return WalStream.objects.filter(pk=stream.pk, **fields)


def _note(verb: str, stream: WalStream) -> None:
    detail = {"source": stream.source, "slot": stream.slot, "policy": stream.policy_id}
    audit.record(SCHEDULE, verb, stream.device.name, detail)
