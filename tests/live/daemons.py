"""Servers under a service's name, as a device without systemd has them, and what stored applications are."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from agents.applications.stored import Stored, StoredPart
from agents.backup import BackupOutcome
from agents.comeback import ComebackOutcome, ComebackRequest, Way, comeback
from agents.facts import Instance
from agents.flow import Control, Unstoppable
from tests.live.flows import Console
from tests.live.ground import wait_until

_INIT = """#!/bin/sh
### BEGIN INIT INFO
# Provides: {name}
### END INIT INFO
pidfile={state}/pid
alive() {{ readlink "/proc/$1/exe" >/dev/null; }} # a zombie has none
running() {{ [ -s "$pidfile" ] && alive "$(cat "$pidfile")"; }}
echo "$1" >>{state}/calls
case $1 in
  start)
    running && exit 0
    [ -e {data} ] || {{ echo "there is no data" >&2; exit 1; }}
    setsid {words} </dev/null >>{state}/log 2>&1 &
    echo "$!" >"$pidfile"
    ;;
  stop)
    running || exit 0
    pid=$(cat "$pidfile")
    kill -s {stop} "$pid"
    while alive "$pid"; do sleep 0.05; done
    rm -f "$pidfile"
    ;;
  status) running || exit 3 ;;
  *) exit 2 ;;
esac
"""


class Daemon:
    """A server that is started and stopped by an init script of its own. A context manager."""

    def __init__(self, state: Path, name: str, data: Path, words: Sequence[str | Path], stop: str) -> None:
        """Given a folder for what it notes, the service's name, its data, the server's words (it stays in
        front) and the signal that ends it in order."""
        self.name, self.state = name, state
        self._stop = signal.Signals[f"SIG{stop}"]
        self.script = Path("/etc/init.d") / name
        state.mkdir(parents=True, exist_ok=True)
        quoted = " ".join(shlex.quote(str(word)) for word in words)
        self.script.write_text(
            _INIT.format(
                name=name, state=shlex.quote(str(state)), data=shlex.quote(str(data)), words=quoted, stop=stop
            )
        )
        self.script.chmod(0o755)

    def __enter__(self) -> Daemon:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pid = self.pid
        self.script.unlink(missing_ok=True)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, self._stop)
            with contextlib.suppress(AssertionError):
                wait_until(lambda: self.pid == 0, timeout_s=20, what="the end of the server")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def call(self, what: str) -> int:
        return subprocess.run(
            ["service", self.name, what], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ).returncode

    @property
    def pid(self) -> int:
        """The server's process id, 0 when it does not run."""
        try:
            pid = int((self.state / "pid").read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return 0
        return pid if state != "Z" else 0

    @property
    def log(self) -> str:
        return (self.state / "log").read_text(errors="replace")

    @property
    def calls(self) -> list[str]:
        """What was asked of the script, without questions for its status."""
        return [word for word in (self.state / "calls").read_text().split() if word != "status"]


def kill(pid: int) -> None:
    """End a server and its children at once, as a disaster does."""
    assert pid, "no server runs"
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}/exe").exists(), what="its end")


def stored_of(outcome: BackupOutcome, application: str, instance: str) -> tuple[Stored, Instance | None]:
    """Given what a backup made, return it as the catalogue has it, and the instance as it was seen then."""
    key = f"{application}:{instance}"
    points = [point for point in outcome.points if point.source == key]
    parts = tuple(StoredPart(each.restic_id, each.part, each.paths, each.size_bytes) for each in points)
    known = outcome.facts.instance(application, instance)
    places = known.places if known is not None else ()
    names = known.detail("databases").split("\n") if known is not None else []
    databases = tuple(name for name in names if name)
    return Stored(application, instance, points[0].method, parts, places, databases), known


def bring_back(
    console: Console,
    stored: Stored,
    known: Instance | None,
    *services: str,
    control: Control | None = None,
    way: Way = Way.IN_PLACE,
    keep_ending: str = "",
    longest_start_s: int = 120,
    **more: Any,
) -> ComebackOutcome:
    request = ComebackRequest(
        console.id,
        secrets.token_hex(16),
        console.place,
        console.binary,
        console.is_local,
        stored,
        way,
        known,
        services,
        keep_ending,
        longest_start_s,
        **more,
    )
    return comeback(request, console.open_session, tell=console.tell, control=control or Unstoppable())
