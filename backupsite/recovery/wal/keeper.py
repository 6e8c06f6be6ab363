"""The program that keeps the wanted streams alive: takes them, writes down how far they are, ends them.

All writing is done here, in one thread, a few times a minute for each stream; the followers only read logs.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, DataError, InterfaceError, connection, transaction

from backupsite.processes import StopRequest
from backupsite.recovery.wal import notes
from backupsite.recovery.wal.follower import Follower, News
from backupsite.recovery.wal.keeping import find_spool
from backupsite.recovery.wal.lease import RENEW_S, Holding
from backupsite.recovery.wal.storing import ask_to_store, is_due
from backupsite.recovery.wal_models import WalStream

log = logging.getLogger(__name__)

BEAT_S = 1.0
# How long the followers may take to leave their devices in order. `serve` waits for longer than this.
LEAVE_S = 20.0

Make = Callable[[WalStream, Holding], Follower]


def run() -> None:
    """Keep streams until SIGTERM or SIGINT, then leave all devices in order."""
    stop = StopRequest()
    keeper = Keeper(settings.HOTFLEET_STREAMS)
    while not stop.is_made:
        try:
            keeper.beat()
        except (DatabaseError, InterfaceError) as error:
            log.warning("The database refuses the streams, trying again in %.0f s: %s", BEAT_S, error)
            connection.close_if_unusable_or_obsolete()
        except Exception:
            # A fault with one stream must not end the others, nor the console with its supervisor.
            log.exception("A round of the streams failed; the next one is in %.0f s.", BEAT_S)
        stop.wait(BEAT_S)
    keeper.leave()


class Keeper:
    """The streams of this process."""

    def __init__(self, most: int, make: Make = Follower) -> None:
        self._holding = Holding()
        self._most = most
        self._make = make
        self._followers: dict[uuid.UUID, Follower] = {}
        self._renew_at = float("-inf")

    def beat(self) -> None:
        """One round. Raise DatabaseError; the next round does what this one did not."""
        if time.monotonic() >= self._renew_at:
            self._renew()
        for key, follower in list(self._followers.items()):
            if follower.is_over:
                self._reap(key, follower)

    def _renew(self) -> None:
        """What another one took, or nobody wants any more, ends; what nobody holds is taken."""
        renew_at = time.monotonic() + RENEW_S
        held = self._holding.renew()
        for key, follower in self._followers.items():
            if key not in held:
                follower.stop(is_lost=True)
        # What was taken and could not be begun, because the database went away between the two.
        self._holding.release(held - self._followers.keys())
        self._write_news()
        for stream in self._holding.rows().filter(pk__in=self._followers).select_related("device"):
            if stream.is_wanted == self._followers[stream.pk].is_ending:
                self._followers[stream.pk].stop()
            self._store(stream)
        for stream in self._holding.take(self._most - len(self._followers)):
            self._begin(stream)
        self._renew_at = renew_at

    def _write_news(self) -> None:
        """Write down how far all of them are, in one transaction."""
        told = {key: follower.read_news() for key, follower in self._followers.items()}
        with transaction.atomic():
            for key, news in told.items():
                self._write(key, news)
        for key, news in told.items():
            self._followers[key].note_news(news)

    def _write(self, key: uuid.UUID, news: News) -> None:
        try:
            with transaction.atomic():
                notes.note_news(self._holding.rows().filter(pk=key), *news)
        except DataError:
            # What one device made up must not keep the others from being written down.
            log.exception("What was heard of stream %s cannot be stored.", key)

    def _store(self, stream: WalStream) -> None:
        """Have a worker put into the repository what waits for that in the spool."""
        try:
            spool = find_spool(stream)
            if spool is not None and is_due(spool):
                ask_to_store(stream)
        except OSError as error:
            # Its disk may be gone: the follower says so too, where people see it.
            log.warning("The spool of %s cannot be read: %s", stream.slot, error)

    def _begin(self, stream: WalStream) -> None:
        if stream.pk in self._followers:
            # It is still leaving after its lease was lost and taken again: one at a time.
            self._holding.release([stream.pk])
            return
        notes.note_begin(self._holding.rows().filter(pk=stream.pk), stream)
        follower = self._make(stream, self._holding)
        self._followers[stream.pk] = follower
        follower.start()

    def _reap(self, key: uuid.UUID, follower: Follower) -> None:
        with transaction.atomic():
            self._write(key, follower.read_news())
            rows = self._holding.rows().filter(pk=key)
            notes.note_end(rows, is_ending=follower.is_ending, error=follower.error)
            self._holding.release([key])
        del self._followers[key]

    def leave(self) -> None:
        """Stop all followers, wait for them, and let others take their streams."""
        for follower in self._followers.values():
            follower.stop()
        until = time.monotonic() + LEAVE_S
        for follower in self._followers.values():
            follower.join(max(0.0, until - time.monotonic()))
        for key, follower in list(self._followers.items()):
            if follower.is_over:
                self._reap(key, follower)
