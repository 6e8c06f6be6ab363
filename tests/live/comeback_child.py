"""A worker that brings an application back, and waits before each thing that it asks of the device, as
`kill_child` does for a backup."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from agents import comeback as flow
from agents.applications.stored import Stored, StoredPart
from agents.flow import Unstoppable
from agents.restic.binary import find_binary
from tests.live.backup_child import answering, place_of, tell, way_of
from tests.live.kill_child import PausingRunner


def main() -> None:
    flow.Runner = PausingRunner  # type: ignore[attr-defined]  # the flow is the real one, its runner waits
    order = json.loads(sys.stdin.readline())
    parts = tuple(StoredPart(each[0], each[1], tuple(each[2]), each[3]) for each in order["parts"])
    request = flow.ComebackRequest(
        order["console"],
        order["run"],
        place_of(order),
        find_binary([Path(order["binary"])]),
        False,
        Stored(order["application"], order["instance"], order["method"], parts, tuple(order["paths"])),
        services=tuple(order["services"]),
        longest_start_s=120,
    )
    with answering():
        flow.comeback(request, way_of(order), tell=tell, control=Unstoppable())


if __name__ == "__main__":
    main()
