"""The programs that the console consists of, in the order in which they start."""

from __future__ import annotations

import gc
import importlib
import socket
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from backupsite.serve import valkey, web
from backupsite.serve.supervisor import Program

# The order of stages is the order of the start; the stop goes the other way round.
VALKEY, WORKERS, WEB, TICK = 1, 2, 3, 4

# A worker that ends a run undoes on the device, over SSH, what the run did there.
_UNDO_WITHIN_S = 60.0
# A log that is not followed any more leaves its session on the device in order.
_LEAVE_WITHIN_S = 20.0


def preload() -> None:
    """Import what the children need, so that they share its memory instead of each loading its own."""
    for module in ("uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto", "uvicorn.loops.auto"):
        importlib.import_module(module)
    for module in (
        "backupsite.urls",
        "backupsite.runs.worker",
        "backupsite.recovery.wal.keeper",
        "backupsite.asgi",
    ):
        importlib.import_module(module)
    gc.collect()
    # A collection in a child would otherwise write to each shared page.
    gc.freeze()


def own_valkey(path: Path) -> Program:
    """Given its socket, return the console's own Valkey. Raise NoValkeyError when there is none to run."""
    configuration = valkey.write_configuration(settings.HOTFLEET_HOME, path)
    return Program(
        "valkey",
        valkey.run(valkey.find_binary(), configuration),
        stage=VALKEY,
        is_talkative=True,
        is_ready=lambda: valkey.answers(path),
    )


def workers(queue: str) -> Program:
    """Return the worker pool of a queue."""
    return Program(
        queue,
        _command("worker", queue, workers=settings.HOTFLEET_WORKERS[queue]),
        stage=WORKERS,
        stop_after_s=_UNDO_WITHIN_S + 5,
    )


def streams() -> Program:
    """Return the process that follows the logs of databases."""
    return Program("streams", _command("streams"), stage=WORKERS, stop_after_s=_LEAVE_WITHIN_S + 5)


def beat() -> Program:
    """Return the process by which a node is heard."""
    return Program("beat", _command("beat"), stage=TICK)


def web_server(reserved: socket.socket) -> Program:
    """Return the web process on a reserved socket."""
    port = settings.HOTFLEET_PORT
    return Program(
        "web",
        web.run(reserved),
        stage=WEB,
        stop_after_s=web.STOP_WITHIN_S + 2,
        is_ready=lambda: web.answers(port),
    )


def tick() -> Program:
    """Return the process that makes due runs and sweeps dead ones."""
    return Program("tick", _command("tick"), stage=TICK)


def _command(name: str, *words: str, **options: object) -> Callable[[], None]:
    def run() -> None:
        call_command(name, *words, **options)

    return run
