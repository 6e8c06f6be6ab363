"""A worker that restores like any other, but waits before each thing that it asks of the device.

It reads its order as `backup_child` does, and swaps PICKED of the source of the only restore point."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from agents import restore as flow
from agents.events import Event
from agents.flow import Unstoppable
from agents.restic.binary import find_binary
from agents.restic.repository import open_repository
from agents.restore import Conflict, Mode, RestoreRequest
from tests.live.backup_child import answering, place_of, way_of
from tests.live.kill_child import PausingRunner

PICKED = ("one", "two", "far/three")


def tell(event: Event) -> None:
    """Nobody listens."""


def main() -> None:
    order = json.loads(sys.stdin.readline())
    setattr(flow, "Runner", PausingRunner)  # noqa: B010 - the flow is the real one, its runner waits
    place = place_of(order)
    binary = find_binary([Path(order["binary"])])
    with open_repository(place.path, place.password, binary) as repository:
        (point,) = repository.list_snapshots()
    request = RestoreRequest(
        order["console"], order["run"], place, binary, False, point.snapshot_id,
        tuple(f"{order['source']}/{name}" for name in PICKED), order["source"], None,
        Conflict.REPLACE, Mode.EXACT, True, datetime(2026, 11, 22, 14, 2, tzinfo=UTC), 0,
    )  # fmt: skip
    with answering():
        flow.restore(request, way_of(order), tell=tell, control=Unstoppable())


if __name__ == "__main__":
    main()
