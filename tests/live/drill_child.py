"""A process that makes one drill on its own machine, standing still before each thing that it asks of it.

See `kill_child`. It says "check <name>" for every check, and which user the cage has."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from agents import drill
from agents.applications.stored import Stored, StoredPart
from agents.applications.trials import Question
from agents.drill import DrillRequest
from agents.events import Checked, Event, PhaseStarted
from agents.flow import Unstoppable
from agents.local import LocalSession
from agents.restic.binary import find_binary
from tests.live.backup_child import answering, place_of
from tests.live.kill_child import PausingRunner


def tell(event: Event) -> None:
    if isinstance(event, PhaseStarted):
        print(f"phase {event.phase}", flush=True)
    if isinstance(event, Checked):
        print(f"check {event.name}", flush=True)


def main() -> None:
    order = json.loads(sys.stdin.readline())
    part = StoredPart(order["restic_id"], order["part"], tuple(order["paths"]), 0)
    request = DrillRequest(
        order["console"],
        order["run"],
        place_of(order),
        find_binary([Path(order["binary"])]),
        True,
        Stored("redis", "s", "stream", (part,)),
        questions=(Question(order["question"], "contains", ""),),
        sample=0,
    )
    vars(drill)["Runner"] = PausingRunner  # the flow is the real one, its runner waits
    with answering():
        drill.drill(request, LocalSession, tell=tell, control=Unstoppable())


if __name__ == "__main__":
    main()
