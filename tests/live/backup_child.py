"""A worker process that makes one backup, so that a test can kill or stop it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from agents import backup
from agents.backup import BackupRequest, back_up
from agents.commands import Secret
from agents.errors import AgentError
from agents.events import Event, Moved, PhaseStarted
from agents.flow import OpenSession, Unstoppable
from agents.plan import SourceRequest
from agents.repositories import RepositoryPlace
from agents.restic.binary import find_binary
from agents.runner import Runner
from agents.ssh import HostKey, Target, connect


def tell(event: Event) -> None:
    if isinstance(event, PhaseStarted):
        print(f"phase {event.phase}", flush=True)
    if isinstance(event, Moved):
        print(f"stored {event.stored_bytes}", flush=True)


def place_of(order: dict[str, Any]) -> RepositoryPlace:
    return RepositoryPlace(Path(order["repository"]), Path(order["journals"]), Secret(order["password"]))


def way_of(order: dict[str, Any]) -> OpenSession:
    """Return how the device of an order is reached."""
    target = Target(order["address"], order["port"], "root")
    keys = [HostKey(each["type"], bytes.fromhex(each["blob"])) for each in order["host_keys"]]
    return lambda: connect(target, private_key=Secret(order["key"]), host_keys=keys)


@contextmanager
def answering() -> Iterator[None]:
    """Say how what is done inside ended, in the last line."""
    try:
        yield
    except AgentError as error:
        print(f"failed {error.code} {error.retryable}", flush=True)
    else:
        print("done", flush=True)


def _make_source(order: dict[str, Any]) -> SourceRequest:
    if (cold := order.get("cold")) is None:
        return SourceRequest(order["source"])
    services, downtime_s = tuple(cold["services"]), cold["longest_downtime_s"]
    return SourceRequest(order["source"], mode="cold", services=services, longest_downtime_s=downtime_s)


def main() -> None:
    order = json.loads(sys.stdin.readline())
    if silence_s := order.get("silence_s"):
        impatient = partial(Runner, silence_s=silence_s, heartbeat_s=1.0)
        backup.Runner = impatient  # type: ignore[attr-defined]  # the flow is the real one
    request = BackupRequest(
        order["console"],
        order["run"],
        order["device"],
        (_make_source(order),),
        place_of(order),
        find_binary([Path(order["binary"])]),
    )
    with answering():
        back_up(request, way_of(order), tell=tell, control=Unstoppable())


if __name__ == "__main__":
    main()
