"""What a worker does for a device after a run was closed: work that may fail or be cut off without any harm.

Apps above this one add their steps in AppConfig.ready. A step is told of the run that has just ended, or of
none when somebody asked for what was not done then (`queue.enqueue_afterwork`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from backupsite.fleet.models import Device
from backupsite.runs import execute, kinds
from backupsite.runs.models import Run

log = logging.getLogger(__name__)

Step = Callable[[Device, Run | None], object]
_steps: list[Step] = []


def add_step(step: Step) -> None:
    """Have workers do this too, last."""
    if step not in _steps:
        _steps.append(step)


def execute_next(name: str) -> None:
    """Do the work of the run of this queue whose turn it is as `execute.execute_next` does, then what comes
    after it."""
    run = execute.execute_next(name)
    if run is not None:
        _do(run.device, run)


def execute_afterwork(device_id: str) -> None:
    """Do the work that was not done after a run. A device that is gone needs none."""
    device = Device.objects.filter(pk=int(device_id)).first()
    if device is not None:
        _do(device, None)


def _do(device: Device, run: Run | None) -> None:
    """Nothing of this may hurt a run, which has ended, nor the next one."""
    for step in _steps:
        try:
            with execute.stopper.working():
                step(device, run)
        except kinds.WorkerStopped:
            return
        except Exception:
            log.exception("Work after a run of %s failed: %s", device.slug, step.__name__)
