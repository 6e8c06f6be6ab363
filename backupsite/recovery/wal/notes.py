"""What followers hear and how they end, written into the rows of their streams; and the notices about it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.errors import AgentError
from agents.wal.words import Gap, Streamed, format_lsn
from backupsite.accounts import audit
from backupsite.alerts import notices
from backupsite.policies.naming import name_source
from backupsite.recovery.wal.wishes import QUIET
from backupsite.recovery.wal_models import WalGap, WalStream
from backupsite.runs import bell
from backupsite.runs.due import SCHEDULE
from backupsite.runs.models import Run
from backupsite.runs.texts import make_storable

log = logging.getLogger(__name__)

Rows = QuerySet[WalStream]
# What is younger than this is lost with the server at worst; older is an alert.
BEHIND = timedelta(minutes=1)
SLOT_STAYS = timedelta(minutes=10)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=2), timedelta(minutes=5)
SLOT_LEFT = (
    "The log of {name} was turned off. Its slot {slot} could not be removed from the device: until then the "
    "server keeps log for it, up to its max_slot_wal_keep_size. It is tried again."
)
NOBODY = (
    "Nobody follows it now. Look whether the console's program “streams” runs, and whether more logs are "
    "wanted than HOTFLEET_STREAMS allows."
)
# The largest number that a database keeps; a position beyond it is no position of a real log.
LARGEST = 2**63 - 1


def note_begin(rows: Rows, stream: WalStream) -> None:
    """Write that somebody is about to follow a stream, or to remove its slot."""
    if stream.is_wanted:
        # Owed from here on: whether the slot was made is not known before somebody looked.
        rows.update(state=WalStream.CONNECTING, has_slot=True)
    else:
        rows.update(state=WalStream.ENDING)
    _ring(stream)


def note_news(rows: Rows, newest: Streamed | None, gaps: tuple[Gap, ...]) -> None:
    """Write how far a stream is, and tell people of gaps. Call it in a transaction; writes nothing when
    somebody else holds the stream now."""
    stream = rows.select_related("device").first() if newest is not None or gaps else None
    if stream is None:
        return
    for gap in gaps:
        _note_gap(stream, gap)
    if newest is None:
        return
    rows.update(
        state=WalStream.FOLLOWING if stream.is_wanted else WalStream.ENDING,
        stretch=newest.stretch,
        system_identifier=newest.system_identifier,
        timeline=newest.timeline,
        position=min(newest.tick.lsn, LARGEST),
        reached_at=newest.tick.at,
        heard_at=newest.tick.seen_at,
        behind_bytes=min(newest.behind_bytes, LARGEST),
        told_at=None if newest.tick.seen_at > timezone.now() - BEHIND else stream.told_at,
        **QUIET,
    )
    if stream.state != WalStream.FOLLOWING or gaps:
        _ring(stream)


def _note_gap(stream: WalStream, gap: Gap) -> None:
    """The first stretch of a log follows nothing: nothing is lost, and nobody is told."""
    if not gap.from_lsn:
        return
    reason = make_storable(_make_sentence(gap.why), 2000)
    WalGap.objects.create(
        stream=stream,
        stretch=gap.stretch,
        at=timezone.now(),
        from_lsn=min(gap.from_lsn, LARGEST),
        to_lsn=min(gap.to_lsn, LARGEST),
        reason=reason,
    )
    until = f"{stream.reached_at:%Y-%m-%d %H:%M:%S} UTC" if stream.reached_at is not None else "it began"
    _tell(
        stream,
        "log-gap",
        f"gap-{gap.stretch}",
        f"the log of {name_source(stream.source)} has a gap",
        f"{reason}\nMoments up to {until} can be reached as before. Later ones can be reached again after "
        f"the next backup of it: make one now.\nThe log goes on at {format_lsn(gap.to_lsn)}.",
    )


def note_end(rows: Rows, *, is_ending: bool, error: AgentError | None) -> None:
    """Write how following a stream ended, or the removal of its slot, and when to try again. Call it in a
    transaction."""
    stream = rows.select_related("device").first()
    if stream is None:
        return
    if error is not None:
        rows.update(**_trouble(stream, error))
    elif is_ending:
        state = WalStream.WAITING if stream.is_wanted else WalStream.OFF
        rows.update(state=state, has_slot=False, **QUIET)
        audit.record(SCHEDULE, "log.slot-removed", stream.device.name, {"slot": stream.slot})
    else:
        rows.update(state=WalStream.WAITING if stream.is_wanted else WalStream.ENDING)
    _ring(stream)


def _make_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _trouble(stream: WalStream, error: AgentError) -> dict[str, Any]:
    now = timezone.now()
    pause = min(FIRST_PAUSE * 2 ** min(stream.failures, 10), LONGEST_PAUSE)
    return {
        "state": WalStream.TROUBLE if stream.is_wanted else WalStream.ENDING,
        "problem": make_storable(_make_sentence(error.message), 2000),
        "remedy": make_storable(error.remedy, 2000),
        "problem_at": stream.problem_at or now,
        "failures": stream.failures + 1,
        "next_try_at": now + (pause if error.retryable else LONGEST_PAUSE),
    }


def look(now: datetime) -> None:
    """A step of the tick: tell people of every log that is behind for more than a minute, once until it is
    not. The process that should follow it may be gone, so it is not the one that tells."""
    for stream in list_late(now).filter(told_at=None).select_related("device"):
        with transaction.atomic():
            if list_late(now).filter(pk=stream.pk, told_at=None).update(told_at=now):
                _tell_behind(stream, now)


def list_late(now: datetime) -> Rows:
    """Return the logs that should be followed and of which nothing was heard for a minute."""
    limit = now - BEHIND
    unheard = Q(heard_at=None) | Q(heard_at__lt=limit)
    return WalStream.objects.filter(unheard, is_wanted=True, wanted_at__lt=limit)


def look_for_slots(now: datetime) -> None:
    """A step of the tick: tell people, once, of a slot that stays on a device although its log is not wanted
    any more: the server keeps log for it."""
    left = WalStream.objects.filter(
        is_wanted=False, has_slot=True, told_at=None, problem_at__lt=now - SLOT_STAYS
    )
    for stream in left.select_related("device"):
        with transaction.atomic():
            if WalStream.objects.filter(pk=stream.pk, is_wanted=False, told_at=None).update(told_at=now):
                text = SLOT_LEFT.format(name=name_source(stream.source), slot=stream.slot)
                text = f"{text}\n{stream.problem}\n{stream.remedy}".strip()
                key = f"slot-{stream.pk.hex}-{now:%Y%m%d%H%M%S}"
                _tell(stream, "log-slot-left", key, "a replication slot could not be removed", text)


def _tell_behind(stream: WalStream, now: datetime) -> None:
    name = name_source(stream.source)
    if stream.reached_at is None:
        said = f"The log of {name} is not followed yet: no moment between two backups can be reached."
    else:
        said = (
            f"The log of {name} is here up to {stream.reached_at:%Y-%m-%d %H:%M:%S} UTC. What was written "
            "later is lost with the device. The device keeps it for the console up to its "
            "max_slot_wal_keep_size; past that there is a gap."
        )
    why = stream.problem or NOBODY
    key = f"behind-{stream.pk.hex}-{now:%Y%m%d%H%M%S}"
    _tell(
        stream, "log-behind", key, f"the log of {name} is behind", f"{said}\n{why}\n{stream.remedy}".strip()
    )


def note_not_stored(stream: WalStream, run: Run, reason: str) -> None:
    """Tell people, once a day, that the log does not get into the repository: its spool grows."""
    text = (
        f"{make_storable(reason)}\nNothing is lost: it waits beside the repository, which needs space for it."
    )
    notices.tell(
        "log-not-stored",
        key=f"log-stored-{stream.pk.hex}-{timezone.now():%Y%m%d}",
        title=f"{stream.device.name}: the log of {name_source(stream.source)} is not stored",
        text=text,
        url=run.get_absolute_url(),
    )


def _tell(stream: WalStream, kind: str, key: str, title: str, text: str) -> None:
    url = f"{stream.device.get_absolute_url()}#any-moment"
    notices.tell(kind, key=f"log-{key}", title=f"{stream.device.name}: {title}", text=text, url=url)
    log.warning("%s: %s", stream.device.slug, title)


def _ring(stream: WalStream) -> None:
    """Tell the pages of the device, once this is stored."""
    group, device = bell.group_of_device(stream.device.uuid), str(stream.device.uuid)
    transaction.on_commit(
        lambda: bell.publish([group], {"type": "hint", "id": device, "seq": 0}), robust=True
    )
