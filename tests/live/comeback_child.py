"""A worker that brings an application back, and waits before each thing that it asks of the device, as
`kill_child` does for a backup."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from agents import comeback as flow
from agents.applications.stored import Stored, StoredPart
from agents.commands import Secret
from agents.errors import AgentError
from agents.flow import Unstoppable
from agents.repositories import RepositoryPlace
from agents.restic.binary import find_binary
from agents.ssh import HostKey, Target, connect
from tests.live.backup_child import tell
from tests.live.kill_child import PausingRunner


def main() -> None:
    flow.Runner = PausingRunner  # type: ignore[attr-defined]  # the flow is the real one, its runner waits
    order = json.loads(sys.stdin.readline())
    parts = tuple(StoredPart(each[0], each[1], tuple(each[2]), each[3]) for each in order["parts"])
    request = flow.ComebackRequest(
        order["console"],
        order["run"],
        RepositoryPlace(Path(order["repository"]), Path(order["journals"]), Secret(order["password"])),
        find_binary([Path(order["binary"])]),
        False,
        Stored(order["application"], order["instance"], order["method"], parts, tuple(order["paths"])),
        services=tuple(order["services"]),
        longest_start_s=120,
    )
    target = Target(order["address"], order["port"], "root")
    keys = [HostKey(each["type"], bytes.fromhex(each["blob"])) for each in order["host_keys"]]
    try:
        flow.comeback(
            request,
            lambda: connect(target, private_key=Secret(order["key"]), host_keys=keys),
            tell=tell,
            control=Unstoppable(),
        )
    except AgentError as error:
        print(f"failed {error.code} {error.retryable}", flush=True)
    else:
        print("done", flush=True)


if __name__ == "__main__":
    main()
