"""The beat by which a node is heard, and what the console tells of those that are not."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, connections

from agents.commands import Secret
from backupsite import clock
from backupsite.alerts import notices
from backupsite.console import space_chore
from backupsite.console.nodes_joining import MOST_APART
from backupsite.processes import StopRequest
from backupsite.repositories import nodes
from backupsite.web.visible import make_visible

log = logging.getLogger(__name__)

BEAT_S: Final = 10.0
MEASURE_EVERY: Final = 180
# From then on people are told of a silent node.
TOLD_AFTER: Final = timedelta(minutes=5)


class Measuring:
    """Measures the storages beside the beat: a disk that hangs must not silence its node."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def begin(self) -> bool:
        """Begin, unless it was begun and goes on; nothing is done where it was done today."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = threading.Thread(target=_measure, name="measuring", daemon=True)
        self._thread.start()
        return True


def _measure() -> None:
    try:
        space_chore.measure()
        space_chore.look_at_disks()
    except Exception:
        log.exception("The storages could not be measured.")
    finally:
        connections.close_all()


def run_beat() -> None:
    """Say every ten seconds that this node is there, until SIGTERM. Raise NotThisNode when it is removed."""
    stop = StopRequest()
    slug, ticket = settings.HOTFLEET_NODE, Secret(settings.HOTFLEET_JOINED.ticket)
    beats, measuring = 0, Measuring()
    while not stop.is_made:
        try:
            nodes.beat(slug, ticket)
            look_at_clock(slug)
            if beats % MEASURE_EVERY == 0:
                measuring.begin()
            beats += 1
        except (DatabaseError, InterfaceError) as error:
            log.warning("The database refuses the beat of node %s: %s", slug, error)
            connection.close_if_unusable_or_obsolete()
        stop.wait(BEAT_S)


def look_at_clock(name: str) -> None:
    """Given what this machine is called, tell of it, once a day, when its clock is not that of the database.
    No run ends of it: leases are moments of the database's clock. But times are read by people, too."""
    apart = clock.apart()
    if apart <= MOST_APART:
        return
    notices.tell(
        "clock",
        key=f"clock-{name}-{clock.now():%Y%m%d}",
        title=f"{name}: its clock is wrong by {apart.total_seconds():.0f} s, or the database's is",
        text=f"The clock of {name} and that of the database are {apart.total_seconds():.0f} s apart. Backups "
        "go on; the times of runs and restore points are wrong by as much. Set both machines by NTP.",
        url="/repositories/nodes/",
    )


def look(now: datetime) -> None:
    """A step of the tick: say which version the console is, and tell of nodes that are silent, once each."""
    if not (others := nodes.others()):
        return
    nodes.beat_console()
    look_at_clock(settings.HOTFLEET_NODE)
    shared = now + clock.offset()
    for node in others:
        if node.heard_at is None or shared - node.heard_at < TOLD_AFTER:
            continue
        count = nodes.list_devices([node]).count()
        notices.tell(
            "node",
            key=f"node-{node.pk}-{node.heard_at:%Y%m%d%H%M%S}",
            title=f"{make_visible(node.name)}: the node is silent",
            text=f"It was last heard on {node.heard_at:%Y-%m-%d %H:%M} UTC. Runs of its {count} devices "
            "wait; those of other nodes go on. Look at its machine and at script/node there.",
            url="/repositories/nodes/",
        )
