"""Kinds of runs that do in seconds what real ones do in hours. Run in each process of a Ground."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import django

django.setup()

from agents.errors import ConnectionLost  # noqa: E402
from agents.events import Moved, Phase, PhaseEnded, PhaseStarted, Said, Tell  # noqa: E402
from backupsite.runs import kinds  # noqa: E402
from backupsite.runs.models import Run  # noqa: E402
from backupsite.runs.states import State  # noqa: E402


class Scripted:
    """Does what the run's request says: {"do": ..., "file": a path to leave traces in}."""

    def __init__(self, name: str, queue: kinds.QueueName, may_retry: bool) -> None:
        self.name, self.queue, self.may_retry = name, queue, may_retry

    def work(self, run: Run, tell: Tell, control: kinds.Control) -> kinds.Ended:
        trace = Path(run.request["file"]) if "file" in run.request else None
        tell(PhaseStarted(Phase.TRANSFER))
        tell(Said(f"process {os.getpid()}"))
        try:
            self._do(run, tell, control)
        finally:
            # What a flow's ExitStack does on the device.
            if trace is not None:
                trace.write_text("undone")
        tell(PhaseEnded(Phase.TRANSFER, 0.1))
        return kinds.Ended(State.SUCCEEDED)

    def _do(self, run: Run, tell: Tell, control: kinds.Control) -> None:
        what = run.request.get("do", "nothing")
        if what == "wait" and (run.attempt == 1 or not run.request.get("once")):
            for step in range(600):
                control.raise_if_stopped()
                tell(Moved(bytes_done=step, files_done=step, stored_bytes=step, problems=0))
                time.sleep(0.1)
        elif what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "fail":
            raise ConnectionLost("The device stopped answering.", remedy="Look at its network.")
        elif what == "break":
            raise KeyError("a bug")


for kind in (
    Scripted("backup", "bulk", True), Scripted("restore", "interactive", False),
    Scripted("probe", "interactive", False),
):  # fmt: skip
    kinds._kinds[kind.name] = kind
