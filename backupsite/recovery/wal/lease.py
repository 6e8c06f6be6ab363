"""Who follows a stream: one process at a time, wherever it runs. The database decides.

1. `take` writes this process's token into a row whose lease is over, by a conditional UPDATE.
2. `renew` extends all of them at once and says which are still ours; who reads a log asks `is_current`.
3. Who writes for a stream names the token in its WHERE; when no row matches, another one has it.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Collection
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from backupsite import clock
from backupsite.recovery.wal_models import WalStream
from backupsite.repositories.nodes import is_known, list_elsewhere
from backupsite.runs.tick import name_holder

LEASE = timedelta(seconds=30)
RENEW_S = 5.0


class Holding:
    """The streams of this process."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(16)
        self.holder = name_holder()
        self._good_until = float("-inf")

    def rows(self) -> QuerySet[WalStream]:
        """Return what this process holds."""
        return WalStream.objects.filter(lease_token=self.token)

    def is_current(self) -> bool:
        """Return True while nobody else can have taken what this process holds. Does no input or output."""
        return time.monotonic() < self._good_until

    def take(self, most: int) -> list[WalStream]:
        """Take streams that nobody holds and whose time has come, at most so many."""
        if not is_known():
            return []
        now, shared = timezone.now(), clock.now()
        free = Q(lease_until=None) | Q(lease_until__lt=shared)
        due = Q(next_try_at=None) | Q(next_try_at__lte=now)
        work = Q(is_wanted=True) | Q(has_slot=True)
        waiting = WalStream.objects.filter(free, due, work).order_by("next_try_at", "wanted_at")
        # The newest of a log is kept beside the repository: who follows it works there.
        waiting = waiting.exclude(device__in=list_elsewhere().values("pk"))
        taken = []
        for key in waiting.values_list("pk", flat=True)[: max(most, 0)]:
            fields = {"holder": self.holder, "lease_token": self.token, "lease_until": shared + LEASE}
            if WalStream.objects.filter(free, due, work, pk=key).update(**fields):
                taken.append(key)
        return list(WalStream.objects.filter(pk__in=taken, lease_token=self.token).select_related("device"))

    def renew(self) -> set[uuid.UUID]:
        """Extend the lease of everything that is held; return what that is. Call it before `take`. Runs three
        queries; raises DatabaseError, then try again."""
        # Counted from before the UPDATE: what is_current promises may only end too early, never too late.
        started = time.monotonic()
        self.rows().update(lease_until=clock.now() + LEASE)
        held = set(self.rows().values_list("pk", flat=True))
        self._good_until = started + LEASE.total_seconds()
        return held

    def release(self, keys: Collection[uuid.UUID]) -> None:
        """Let others take these at once."""
        self.rows().filter(pk__in=keys).update(holder="", lease_token="", lease_until=None)
