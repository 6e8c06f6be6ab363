"""Work of the console itself that only a worker can do: it is about no device, so it is no run.

Apps above this one add theirs in AppConfig.ready. A chore finds out by itself whether there is anything to
do, and claims it in the database: it may be called twice at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from redis.exceptions import RedisError

from backupsite.runs import execute, kinds, queue

log = logging.getLogger(__name__)

_chores: dict[str, Callable[[], object]] = {}


def register(name: str, work: Callable[[], object]) -> None:
    """Make a chore known. Raise ValueError when the name is taken by another function."""
    if _chores.setdefault(name, work) is not work:
        raise ValueError(f"The chore {name!r} is registered twice.")


def ask(name: str) -> None:
    """Wake a worker for a chore. Never raises: whoever asks for it looks again."""
    try:
        queue.enqueue_chore(name)
    except RedisError as error:
        log.warning("The chore %s waits until Redis answers: %s", name, error)


def execute_chore(name: str) -> None:
    """Do a chore, in a worker. Its errors are logged: it must tell people by itself."""
    work = _chores.get(name)
    if work is None:
        log.error("No chore is called %r.", name[:80])
        return
    try:
        with execute.stopper.working():
            work()
    except kinds.WorkerStopped:
        return
    except Exception:
        log.exception("The chore %s failed.", name)
