"""When the index is made: after each good backup, and later what is missing then.

Nothing says "this is not in the index" but the index itself: a file that was lost is noticed as a file that
never was.
"""

from __future__ import annotations

import logging
from datetime import datetime

from django.db.models import F
from redis.exceptions import RedisError

from backupsite.fleet.models import Device
from backupsite.recovery.index import files
from backupsite.recovery.index.adding import add_missing, has_missing
from backupsite.repositories.nodes import list_elsewhere
from backupsite.runs import queue
from backupsite.runs.models import Run
from backupsite.runs.states import State

log = logging.getLogger(__name__)

# A worker that reads old restore points makes the backups of other devices wait.
LONGEST_S = 60.0
# The tick comes every ten seconds: each device is looked at about once an hour.
SLOT_S, SLOTS = 10, 360


def after_run(device: Device, run: Run | None) -> None:
    """Bring a device's index up to date after a good backup, or when it was asked for. For workers."""
    if list_elsewhere().filter(pk=device.pk).exists():
        return  # its repository cannot be read here: folders are read one by one, by its own node
    if run is not None:
        run.refresh_from_db(fields=["state"])
        # A restore makes points too: what it replaced.
        if run.kind not in (Run.BACKUP, Run.RESTORE) or not State(run.state).is_good:
            return
    count = add_missing(device, longest_s=LONGEST_S)
    if count and has_missing(device):
        # What is left comes behind the work that waits.
        ask(device.pk)


def ask(device_id: int) -> None:
    """Have a worker bring a device's index up to date. Without Redis it is asked for again in an hour."""
    try:
        queue.enqueue_afterwork(device_id)
    except RedisError as error:
        log.warning("An index waits until Redis answers: %s", error)


def look(now: datetime) -> None:
    """Ask for what is missing in the indexes of the devices whose turn it is. A step of the tick."""
    turn = int(now.timestamp() // SLOT_S) % SLOTS
    for device in (
        Device.objects.annotate(turn=F("pk") % SLOTS)
        .filter(turn=turn)
        .exclude(pk__in=list_elsewhere().values("pk"))
    ):
        if has_missing(device):
            ask(device.pk)
    if turn == 0:
        remove_others()


def remove_others() -> None:
    """Remove the indexes of devices that are gone."""
    for uuid in files.list_devices() - set(Device.objects.values_list("uuid", flat=True)):
        path = files.home() / f"{uuid.hex}.sqlite"
        files.remove(path)
        path.with_suffix(".lock").unlink(missing_ok=True)
