"""A service with an init script of its own name in /etc/init.d, whose daemon writes a ledger all the time.

The ledger: `debit` and `credit` get the same numbers one after the other, never in one instant, and `clean`
is there only after an orderly end. So a copy is whole only when the daemon stood still meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.live.ground import wait_until

_DAEMON = """
import os, signal, sys, time
data, state = sys.argv[1:]
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
inherited = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
clean = os.path.join(data, "clean")
if os.path.exists(clean): os.unlink(clean)
number = 0
with open(os.path.join(data, "starts"), "a") as file:
    os.umask(mask := os.umask(0))
    file.write(f"{time.time()} {mask:o} {inherited} {sorted(map(int, os.listdir('/proc/self/fd')))[:-1]}\\n")
while not ended:
    number += 1
    for name in ("debit", "credit"):
        with open(os.path.join(data, name), "a") as file:
            file.write(f"{number}\\n")
        time.sleep(0.002)
slow = os.path.join(state, "slow")
time.sleep(float(open(slow).read()) if os.path.exists(slow) else 0)
open(clean, "w").close()
"""
_INIT = """#!/bin/sh
### BEGIN INIT INFO
# Provides: {name}
### END INIT INFO
state={state} pidfile={state}/pid
alive() {{ readlink "/proc/$1/exe" >/dev/null; }} # a zombie has none
running() {{ [ -s "$pidfile" ] && alive "$(cat "$pidfile")"; }}
echo "$1" >>"$state/calls.$$" && cat "$state/calls.$$" >>"$state/calls" && rm "$state/calls.$$"
case $1 in
  start)
    [ ! -e "$state/refuse-start" ] || {{ echo "no" >&2; exit 1; }}
    running && exit 0
    start-stop-daemon --start --background --make-pidfile --pidfile "$pidfile" --exec {python} -- \
      {state}/daemon.py {data} {state}
    ;;
  stop)
    running || exit 0
    pid=$(cat "$pidfile") late=
    mv "$state/late" "$state/late.$$" 2>/dev/null && late=yes
    kill "$pid"
    while alive "$pid"; do sleep 0.02; done
    [ -z "$late" ] || sleep 2
    rm -f "$pidfile"
    ;;
  status) running || exit 3 ;;
  *) exit 2 ;;
esac
"""


class Ledger:
    """The service. A context manager: its script and its daemon are gone afterwards."""

    def __init__(self, data: Path, state: Path, name: str) -> None:
        self.name, self.data, self.state = name, data, state
        self.script = Path("/etc/init.d") / name
        data.mkdir(exist_ok=True)
        state.mkdir(exist_ok=True)
        (state / "daemon.py").write_text(_DAEMON)
        self.script.write_text(_INIT.format(name=name, state=state, data=data, python=sys.executable))
        self.script.chmod(0o755)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            pid = self.pid
            self.script.unlink(missing_ok=True)
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        finally:
            self.script.unlink(missing_ok=True)

    def call(self, what: str) -> int:
        return subprocess.run(
            ["service", self.name, what], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ).returncode

    def start(self) -> None:
        assert self.call("start") == 0
        wait_until(lambda: (self.data / "credit").exists(), what="the first entry")

    @property
    def pid(self) -> int:
        """The daemon's process id, 0 when it does not run."""
        try:
            pid = int((self.state / "pid").read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return 0
        return pid if state != "Z" else 0

    @property
    def runs(self) -> bool:
        return self.pid != 0

    @property
    def daemons(self) -> list[int]:
        """The process ids of every daemon of this ledger, whether its script knows them or not."""
        words = f"{self.state / 'daemon.py'}\0{self.data}\0".encode()
        found = []
        for pid in [int(each) for each in os.listdir("/proc") if each.isdigit()]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [pid] if words in Path(f"/proc/{pid}/cmdline").read_bytes() else []
        return found

    @property
    def calls(self) -> list[str]:
        """What was asked of the script, without questions for its status."""
        path = self.state / "calls"
        return [word for word in path.read_text().split() if word != "status"] if path.exists() else []

    @property
    def starts(self) -> list[str]:
        return (self.data / "starts").read_text().splitlines()


def what_is_torn(copy: Path) -> list[str]:
    """Given a copy of the data, return why it is none of a daemon that stood still."""
    debit, credit = ((copy / name).read_text().split() for name in ("debit", "credit"))
    torn = [] if debit == credit else [f"{len(debit)} debits, {len(credit)} credits"]
    return torn if (copy / "clean").exists() else [*torn, "it did not end in order"]
