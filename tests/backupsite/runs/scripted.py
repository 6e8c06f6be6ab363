"""Kinds of runs that do in seconds what real ones do in hours."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from agents.errors import ConnectionLost
from agents.events import Moved, Phase, PhaseEnded, PhaseStarted, Said, Tell
from backupsite.runs import kinds
from backupsite.runs.models import Run
from backupsite.runs.states import State

Do = Callable[[Run, Tell, kinds.Control], kinds.Ended | None]


class Scripted:
    """Does `do`, which may be what the run's request says: {"do": a word, "file": where to leave a trace}."""

    def __init__(self, name: str, queue: kinds.QueueName, may_retry: bool, do: Do | None = None) -> None:
        self.name, self.queue, self.may_retry = name, queue, may_retry
        self.do: Do = do or follow_request

    def work(self, run: Run, tell: Tell, control: kinds.Control) -> kinds.Ended:
        return self.do(run, tell, control) or kinds.Ended(State.SUCCEEDED)


def follow_request(run: Run, tell: Tell, control: kinds.Control) -> None:
    tell(PhaseStarted(Phase.TRANSFER))
    tell(Said(f"process {os.getpid()}"))
    try:
        _act(run, tell, control)
    finally:
        # What a flow's ExitStack does on the device.
        if "file" in run.request:
            Path(run.request["file"]).write_text("undone")
    tell(PhaseEnded(Phase.TRANSFER, 0.1))


def _act(run: Run, tell: Tell, control: kinds.Control) -> None:
    what = run.request.get("do", "nothing")
    if run.attempt > 1 and run.request.get("once"):
        return
    if what == "wait":
        for step in range(600):
            control.raise_if_stopped()
            tell(Moved(bytes_done=step, files_done=step, stored_bytes=step, problems=0))
            time.sleep(0.1)
    elif what == "ignore-term":
        subprocess.Popen(["sleep", "300"])
        while True:
            try:
                time.sleep(60)
            except kinds.WorkerStopped:
                continue
    elif what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "fail":
        raise ConnectionLost("The device stopped answering.", remedy="Look at its network.")


def register_all() -> None:
    """Called in each process of a Ground, in place of the real kinds."""
    for kind in (
        Scripted("backup", "bulk", may_retry=True),
        Scripted("restore", "interactive", may_retry=False),
        Scripted("probe", "interactive", may_retry=False),
    ):
        kinds._kinds[kind.name] = kind
