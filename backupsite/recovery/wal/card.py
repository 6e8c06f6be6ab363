"""What the page of a device says about the logs that are followed there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.db.models import Sum
from django.urls import reverse

from agents.errors import ProtocolBroken
from agents.facts import Instance
from agents.wal.words import Window
from backupsite.fleet.models import Device
from backupsite.policies.models import Source
from backupsite.policies.naming import name_source
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.wal.notes import BEHIND
from backupsite.recovery.wal.reach import Reach, find_reach
from backupsite.recovery.wal.wishes import POSTGRESQL
from backupsite.recovery.wal_models import WalBatch, WalGap, WalStream
from backupsite.web.status import Status

# How long a gap is told on the page.
RECENT = timedelta(days=7)
LOOKS = {
    WalStream.WAITING: Status("Waits to begin", "neutral", "waiting"),
    WalStream.CONNECTING: Status("Connecting", "running", "spinner"),
    WalStream.FOLLOWING: Status("Followed", "good", "good"),
    WalStream.TROUBLE: Status("Stands still", "warn", "warn"),
    WalStream.ENDING: Status("Being turned off", "warn", "warn"),
    WalStream.OFF: Status("Turned off", "off", "off"),
}
LATE = Status("Behind", "bad", "bad")
NO_REACH = Reach((), (), {})


@dataclass(frozen=True)
class LogCard:
    """One log. `late_s`: what was written in so many seconds is not here, None while nobody waits for it."""

    stream: WalStream
    status: Status
    reach: Reach
    late_s: float | None
    stored_bytes: int
    gaps: tuple[WalGap, ...]

    @property
    def name(self) -> str:
        return name_source(self.stream.source)

    @property
    def is_late(self) -> bool:
        return self.status is LATE

    @property
    def windows(self) -> tuple[Window, ...]:
        """What can be reached, the newest first."""
        return tuple(reversed(self.reach.windows))

    @property
    def point(self) -> RestorePoint | None:
        """The newest restore point that a window begins from: where a comeback is asked for."""
        keys = {base.key for window in self.reach.windows for base in window.bases}
        points = [point for key, point in self.reach.points.items() if key in keys]
        return max(points, key=lambda point: point.made_at, default=None)


@dataclass(frozen=True)
class LogOffer:
    """A PostgreSQL whose log nobody keeps, and the page on which that is asked for."""

    name: str
    url: str


def list_cards(device: Device, now: datetime) -> list[LogCard]:
    """Return the logs of a device: those that are followed, and those that still lead somewhere. Runs six
    queries for each at most, and reads its spool."""
    cards = [
        _make(stream, now) for stream in WalStream.objects.filter(device=device).select_related("policy")
    ]
    return [card for card in cards if card.stream.state != WalStream.OFF or card.reach.windows]


def _make(stream: WalStream, now: datetime) -> LogCard:
    since = stream.wanted_at if stream.heard_at is None else max(stream.heard_at, stream.wanted_at)
    late_s = (now - since).total_seconds() if stream.is_wanted else None
    status = LOOKS[stream.state]
    if late_s is not None and late_s > BEHIND.total_seconds():
        status = LATE
    try:
        reach = find_reach(stream)
    except ProtocolBroken:
        # Written by another version of this program: it is not known what it reaches.
        reach = NO_REACH
    stored = WalBatch.objects.filter(stream=stream).aggregate(total=Sum("size_bytes"))["total"] or 0
    gaps = WalGap.objects.filter(stream=stream, at__gt=now - RECENT)[:3]
    return LogCard(stream, status, reach, late_s, stored, tuple(gaps))


def list_offers(
    device: Device, instances: Iterable[Instance], cards: Iterable[LogCard], sources: Iterable[Source]
) -> list[LogOffer]:
    """Given what runs on a device, its cards and what policies decided, return whose log could be kept. Pure.

    What is left out on purpose is not offered again."""
    decided = {source.key: source for source in sources}
    settled = {card.stream.source for card in cards if card.stream.state != WalStream.OFF}
    settled |= {key for key, source in decided.items() if source.mode == Source.OUT}
    return [
        LogOffer(name_source(instance.key), _find_url(device, instance, decided.get(instance.key)))
        for instance in instances
        if instance.application == POSTGRESQL and instance.key not in settled
    ]


def _find_url(device: Device, instance: Instance, source: Source | None) -> str:
    if source is not None:
        return source.policy.get_absolute_url()
    wanted = {"device": device.slug, "application": POSTGRESQL, "instance": instance.name}
    return f"{reverse('policy-new')}?{urlencode(wanted)}"
