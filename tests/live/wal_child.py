"""A console that streams a log, so that a test can kill it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from agents.commands import Secret
from agents.errors import AgentError
from agents.flow import Unstoppable
from agents.ssh import HostKey, Target, connect
from agents.wal import Gap, Streamed, StreamRequest
from agents.wal.stream import stream


def tell(event: object) -> None:
    if isinstance(event, Streamed):
        print(f"streamed {event.tick.lsn} {event.behind_bytes}", flush=True)
    if isinstance(event, Gap):
        print(f"gap {event.why}", flush=True)


def main() -> None:
    order = json.loads(sys.stdin.readline())
    request = StreamRequest(
        order["console"], order["run"], order["instance"], order["slot"], Path(order["spool"])
    )
    target = Target(order["address"], order["port"], "root")
    keys = [HostKey(each["type"], bytes.fromhex(each["blob"])) for each in order["host_keys"]]
    try:
        stream(
            request,
            lambda: connect(target, private_key=Secret(order["key"]), host_keys=keys),
            tell=tell,
            control=Unstoppable(),
        )
    except AgentError as error:
        print(f"failed {error.code} {error.retryable}", flush=True)


if __name__ == "__main__":
    main()
