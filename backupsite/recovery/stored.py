"""How each device stands, stored, so that pages about 10,000 devices need not ask for their restore points.

What is stored does not age: it is not the standing, but the moments at which it changes by itself. Whoever
writes what a standing depends on (restore points, policies, their devices and sources, what was found on a
device) calls `restate` in the same transaction. `repair` looks at each device about once an hour all the
same: a wrong "within RPO" is the worst thing that this program can say.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Case, Count, F, IntegerField, QuerySet, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from backupsite.fleet.models import Device
from backupsite.policies.models import PolicyDevice
from backupsite.recovery.exposure import CLOSE, FEW, SourceExposure, Standing, group_sources, list_paused
from backupsite.recovery.models import Exposure
from backupsite.recovery.undecided import list_undecided

log = logging.getLogger(__name__)

BATCH = 500
# The tick comes every ten seconds: each device is looked at about once an hour.
SLOT_S, SLOTS = 10, 360
FIELDS = ("base", "close_at", "missed_at", "newest_at", "paused_until", "undecided")


def make_exposure(
    device_id: int, sources: Iterable[SourceExposure], *, is_paused: bool, undecided: str = ""
) -> Exposure:
    """Given the required sources of a device, and what nobody decided about, return the row that says how it
    stands at any time. Pure.

    `exposure.judge_device` says the same for one moment; a test holds the two together.
    """
    listed = list(sources)
    if not listed:
        base = Standing.PAUSED if is_paused else Standing.UNPROTECTED
        return Exposure(device_id=device_id, base=base, undecided=undecided)
    ends = [
        (
            _delay(source.newest_at + source.rpo, source),
            source.newest_at,
            _delay(source.newest_at + source.rpo * CLOSE, source),
        )
        for source in listed
        if source.newest_at is not None
    ]
    base = _find_base(listed)
    made = Exposure(
        device_id=device_id, base=max(base, Standing.UNDECIDED) if undecided else base, undecided=undecided
    )
    if ends:
        made.missed_at, made.newest_at, _ = min(ends)
        made.close_at = min(close_at for _, _, close_at in ends)
    pauses = [source.paused_until for source in listed if source.paused_until is not None]
    made.paused_until = max(pauses, default=None)
    return made


def _delay(moment: datetime, source: SourceExposure) -> datetime:
    """Given when a standing changes, return when it does so for a source that a pause may hold: at its end
    what is old is old."""
    until = source.paused_until
    return moment if until is None else max(moment, until - timedelta(microseconds=1))


def _find_base(sources: list[SourceExposure]) -> Standing:
    """Return how a device stands while none of its restore points is old."""
    if any(source.newest_at is None for source in sources):
        return Standing.NEVER
    return Standing.WITHIN if all(source.is_complete for source in sources) else Standing.PARTIAL


def lock(device_ids: Collection[int]) -> None:
    """Have everybody else who tells how these devices stand wait until this transaction ends.

    1. Whoever adds restore points or saves a policy calls this before anything else of it is written: two
       transactions that lock rows in different orders would wait for each other, and one would be lost.
    2. `restate` at the end then reads what everybody before has written.
    """
    for batch in _batches(device_ids):
        _read_locked(batch)


def restate(device_ids: Collection[int]) -> int:
    """Write how these devices stand, and those that share a source with them; return how many rows were not
    right. Call it in the transaction that changed what they depend on. Runs one query, and eight for each 500
    devices, nine where a source is shared."""
    with transaction.atomic():
        return sum(_restate_batch(batch) for batch in _batches(device_ids))


def add_members(device_ids: Collection[int]) -> set[int]:
    """Given devices, return them with those that share a source with them: what one of them stored, all have.
    Runs one query."""
    sharing = PolicyDevice.objects.filter(policy__sources__is_shared=True)
    if len(device_ids) <= FEW:
        sharing = sharing.filter(device_id__in=device_ids)
    members = PolicyDevice.objects.filter(policy__in=sharing.values("policy"))
    return {*device_ids, *members.values_list("device_id", flat=True)}


def _batches(device_ids: Collection[int]) -> Iterator[list[int]]:
    # In one order everywhere: see `lock`.
    wanted = sorted(add_members(device_ids))
    return (wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH))


def _read_locked(device_ids: list[int]) -> dict[int, Exposure]:
    """Return the locked rows of these devices. A row that is missing is made first."""
    missing = [Exposure(device_id=pk, base=Standing.UNPROTECTED) for pk in device_ids]
    Exposure.objects.bulk_create(missing, ignore_conflicts=True)
    locked = Exposure.objects.select_for_update().filter(device_id__in=device_ids).order_by("device_id")
    return {row.device_id: row for row in locked}


def _restate_batch(device_ids: list[int]) -> int:
    stored = _read_locked(device_ids)
    now = timezone.now()
    sources, paused = group_sources(now, device_ids), list_paused(device_ids)
    undecided = list_undecided(device_ids)
    made = [
        make_exposure(pk, sources[pk], is_paused=pk in paused, undecided=undecided[pk]) for pk in device_ids
    ]
    wrong = [row for row in made if _values(row) != _values(stored[row.device_id])]
    Exposure.objects.bulk_create(wrong, update_conflicts=True, unique_fields=["device"], update_fields=FIELDS)
    return sum(not _has_run_out(stored[row.device_id], now) for row in wrong)


def _has_run_out(row: Exposure, now: datetime) -> bool:
    """Return whether a pause ended by itself: what is stored was right, and has a simpler form now."""
    return row.paused_until is not None and row.paused_until <= now


def _values(row: Exposure) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in FIELDS)


def with_standing(devices: QuerySet[Device], now: datetime) -> Any:
    """Given devices, return them as a query with `standing`, a number of Standing, at this time. A device
    that nobody ever protected has no row."""
    standing = Case(
        When(exposure__missed_at__lt=now, then=Value(int(Standing.OUTSIDE))),
        When(exposure__base=Standing.NEVER, then=Value(int(Standing.NEVER))),
        When(exposure__base=Standing.UNDECIDED, then=Value(int(Standing.UNDECIDED))),
        When(exposure__close_at__lt=now, then=Value(int(Standing.CLOSE))),
        When(exposure__paused_until__gt=now, then=Value(int(Standing.PAUSED))),
        default=Coalesce(F("exposure__base"), Value(int(Standing.UNPROTECTED))),
        output_field=IntegerField(),
    )
    return devices.annotate(standing=standing)


def count_standings(devices: QuerySet[Device], now: datetime) -> Counter[Standing]:
    """Given devices, return how many stand how. Runs one query."""
    counted = with_standing(devices, now).order_by().values_list("standing").annotate(total=Count("pk"))
    return Counter({Standing(standing): total for standing, total in counted})


def repair(now: datetime) -> None:
    """Look at the devices whose turn it is, put right what is wrong, and say so. A step of the tick."""
    turn = int(now.timestamp() // SLOT_S) % SLOTS
    due = Device.objects.annotate(turn=F("pk") % SLOTS).filter(turn=turn)
    count = restate(list(due.values_list("pk", flat=True)))
    if count:
        log.warning("How %d devices stand was stored wrongly. It is right now.", count)
