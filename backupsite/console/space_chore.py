"""Once a day a worker measures the storages; people are told before one is full."""

from __future__ import annotations

import logging
from datetime import datetime

from django.utils import timezone

from backupsite.alerts import notices
from backupsite.repositories import space
from backupsite.repositories.hanging import StorageHangs
from backupsite.repositories.models import Storage
from backupsite.runs import chores

log = logging.getLogger(__name__)

CHORE = "space"
# A storage that cannot be measured is tried again after as many ticks: its own alarm is another one's work.
_AGAIN_MINUTES = 30


def look(now: datetime) -> None:
    """A step of the tick: have a worker measure what was not measured today."""
    if now.minute % _AGAIN_MINUTES == 0 and not space.is_sampled(now.date()):
        chores.ask(CHORE)


def measure() -> None:
    """The chore: take today's samples, then tell what is nearly full."""
    today = timezone.now().date()
    if space.is_sampled(today):
        return
    for problem in space.take_samples(today):
        log.warning("A storage could not be measured: %s", problem)
        if isinstance(problem.error, StorageHangs):
            _tell_hangs(problem)
    samples = space.read_storages(today)
    for storage in Storage.objects.exclude(total_bytes=None):
        outlook = space.look_ahead(samples.get(storage.pk, []), storage.free_bytes)
        alarm = space.find_alarm(storage.total_bytes, storage.free_bytes, outlook, today)
        if alarm:
            _tell(storage, alarm, today.isocalendar().week)


def look_at_disks() -> None:
    """Tell of the disks that do not answer now, also where all was measured today."""
    for problem in space.find_hanging():
        _tell_hangs(problem)


def _tell_hangs(problem: space.Unmeasured) -> None:
    """Tell once a day: whatever works on it waits as well."""
    storage, error = problem.storage, problem.error
    notices.tell(
        "storage-hangs",
        key=f"storage-hangs-{storage.pk}-{timezone.now():%Y%m%d}",
        title=f"{storage.name}: the place for backups does not answer",
        text=f"{error} Backups, checks and restores there wait as well. Look at its file server and at the "
        "network between, or unmount it.",
        url="/repositories/",
    )


def _tell(storage: Storage, alarm: str, week: int) -> None:
    """Tell once a week: it stays true until somebody does something."""
    notices.tell(
        "space",
        key=f"space-{storage.pk}-{timezone.now().year}-{week}",
        title=f"{storage.name}: the place for backups fills up",
        text=f"{storage.path}: {alarm}\nKeep fewer restore points, or give it more space.",
        url="/repositories/",
    )
