"""A worker that restores like any other, but waits before each thing that it asks of the device.

It reads its order as `backup_child` does, and swaps PICKED of the source of the only restore point."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from agents import restore as flow
from agents.commands import Secret
from agents.errors import AgentError
from agents.events import Event
from agents.flow import Unstoppable
from agents.repositories import RepositoryPlace
from agents.restic.binary import find_binary
from agents.restic.repository import open_repository
from agents.restore import Conflict, Mode, RestoreRequest
from agents.session import Session
from agents.ssh import HostKey, Target, connect
from tests.live.kill_child import PausingRunner

PICKED = ("one", "two", "far/three")


def tell(event: Event) -> None:
    """Nobody listens."""


def main() -> None:
    order = json.loads(sys.stdin.readline())
    setattr(flow, "Runner", PausingRunner)  # noqa: B010 - the flow is the real one, its runner waits
    place = RepositoryPlace(Path(order["repository"]), Path(order["journals"]), Secret(order["password"]))
    binary = find_binary([Path(order["binary"])])
    with open_repository(place.path, place.password, binary) as repository:
        (point,) = repository.list_snapshots()
    request = RestoreRequest(
        order["console"], order["run"], place, binary, False, point.snapshot_id,
        tuple(f"{order['source']}/{name}" for name in PICKED), order["source"], None,
        Conflict.REPLACE, Mode.EXACT, True, datetime(2026, 11, 22, 14, 2, tzinfo=UTC), 0,
    )  # fmt: skip
    target = Target(order["address"], order["port"], "root")
    keys = [HostKey(each["type"], bytes.fromhex(each["blob"])) for each in order["host_keys"]]

    def open_session() -> Session:
        return connect(target, private_key=Secret(order["key"]), host_keys=keys)

    try:
        flow.restore(request, open_session, tell=tell, control=Unstoppable())
    except AgentError as error:
        print(f"failed {error.code} {error.retryable}", flush=True)
    else:
        print("done", flush=True)


if __name__ == "__main__":
    main()
