"""The swap itself: one script stops, swaps and starts; whoever dies, the device goes back by itself.

The undo is in the device's journal before the first staging is made. It looks at what lies there, so it is
right at every moment: before the swap it removes the stagings; between the renames and after them it stops
what was started, puts the old data back and starts what ran; once the application answered ("good") it only
removes what is not needed any more.

That journal is in memory. So the undo also lies on the disk of the device, with what was decided (`$hold` of
swapping.sh): whoever connects after a power cut runs it (healing.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from agents.applications.keepers import Keeper
from agents.commands import Command, Result, quote, to_bytes, to_text
from agents.errors import AgentError, CommandFailed, RestoreTargetRefused, ServiceDown
from agents.events import Froze, FrozenStep, Level, Said, Tell
from agents.own_places import JOURNALS
from agents.removing import read_removing
from agents.returning.fetching import tell_notes
from agents.returning.staging import ENTERING, Staging
from agents.runner import Runner

_KEY = "comeback"
# Stopping a server that writes everything, and one that recovers when it starts, take their time.
_STOP_S = 900.0
_REMOVE_S = 6 * 3600.0
_HEAD = r"""
set -u
umask 077
hold=$1
shift
"""
# Twice: who ends another one removes the folder of all when it is empty.
_JOURNAL = r"""
mkdir -p -- "$hold" 2>/dev/null || mkdir -p -- "$hold" || exit 1
cat >"$hold/undo.new" && cat /proc/sys/kernel/random/boot_id >"$hold/boot" && flush "$hold/boot" &&
  mv -- "$hold/undo.new" "$hold/undo" && flush "$hold/undo"
"""
_UNDO = 'undo_all "$@" && forget'
# What came is on the disk before anything stands still, and what is to go back too.
_READY = r"""
[ -z "$ending" ] || printf '%s\n' "$ending" >"$hold/keep" || exit 1
keeper_note && : >"$hold/moved" && flush "$@" "$hold/moved"
"""
_SWAP = r"""
uptime_ms() { read -r now _ </proc/uptime; now=${now%.*}${now#*.}0; }
step() {
  uptime_ms
  before=$now
  "$@"
  status=$?
  uptime_ms
  printf 'step %s %s %s\n' "$1" "$status" $((now - before))
  return "$status"
}
stand() {
  halt || return 1
  for staging in "$@"; do
    users=$(in_use "$staging") || return 1
    [ -z "$users" ] || { printf '%s\n' "$users" >&2; return 1; }
  done
}
begin() { keeper_start "$hold/names"; }
step stand "$@" && step swap_all "$@" && step begin
"""
_GOOD = r"""
# by directories, which no link leads elsewhere: after a power cut they say that old/ is not needed
for staging in "$@"; do
  (enter "$staging" && mkdir -p good && { sync -f . 2>/dev/null || sync; }) || exit 1
done
: >"$hold/good" && flush "$hold/good"
"""
_RUNS = '[ ! -e "$hold/names" ] || keeper_runs'
_STEP = re.compile(r"step (stand|swap_all|begin) ([0-9]{1,3}) ([0-9]{1,15})", re.ASCII)
_WORDS = {"stand": "stop", "swap_all": "swap", "begin": "start"}


@cache
def _functions() -> str:
    return read_removing() + ENTERING + Path(__file__).with_name("swapping.sh").read_text()


@dataclass(slots=True)
class Swapper:
    """The swap of every seat of one run."""

    runner: Runner
    keeper: Keeper
    stagings: Sequence[Staging]
    start_s: int
    tell: Tell
    is_owed: bool = False

    @property
    def mark(self) -> str:
        """A file that is made between the swap and the start."""
        return f"{self._hold}/swapped"

    @property
    def _hold(self) -> str:
        return f"{JOURNALS}/{self.runner.name}"

    def owe(self) -> None:
        """Journal the way back, in memory and on the disk. Before anything else is made on the device.

        Raise RestoreTargetRefused when it cannot be written."""
        undo = self._command(_UNDO)
        self.runner.owe(_KEY, undo)
        self.is_owed = True
        written = replace(self._command(_JOURNAL), stdin=to_bytes(undo.shell_line()))
        said = self.runner.run(written, timeout_s=_STOP_S, check=False)
        if not said.is_success:
            raise RestoreTargetRefused(
                f"The way back cannot be written into {JOURNALS} of the device: nothing was begun.",
                remedy=f"Make {JOURNALS} writable for root.",
                detail=said.tail,
            )

    def swap(self, keep_ending: str) -> float:
        """Stop, swap, start; return the milliseconds for which it stood still.

        Raise CommandFailed with the step that failed: nothing has gone back yet then."""
        ready = self._run(f"ending={quote(keep_ending)}\n{_READY}", _REMOVE_S, check=False)
        if not ready.is_success:
            raise CommandFailed(_FAILED["stop"].format(label=self.keeper.label), detail=ready.tail)
        said = self._run(_SWAP, _STOP_S + self.start_s, check=False)
        steps = [match.groups() for match in map(_STEP.fullmatch, said.text.splitlines()) if match]
        tell_notes(said.text, self.tell)
        frozen = tuple(FrozenStep(_WORDS[name], float(ms)) for name, _, ms in steps)
        failed = [_WORDS[name] for name, status, _ in steps if status != "0"]
        if not said.is_success or len(steps) != 3:
            what = failed[0] if failed else ("stop" if not steps else "swap")
            raise CommandFailed(_FAILED[what].format(label=self.keeper.label), detail=said.tail)
        down_ms = sum(step.milliseconds for step in frozen)
        self.tell(Froze(self.keeper.label, down_ms, _STOP_S * 1000, frozen, is_stop=True))
        return down_ms

    def is_running(self) -> bool:
        return self._run(_RUNS, 60.0, check=False).is_success

    def accept(self) -> None:
        """The application answered: from here on nothing goes back. The data is on the disk."""
        self._run(_GOOD, _STOP_S, check=True)

    def end(self) -> tuple[str, ...]:
        """Go back, or remove what is not needed any more; then strike it from the journal. Return the paths
        of what was there and is kept.

        Raise ServiceDown when what ran before does not run, CommandFailed when something stays."""
        if not self.is_owed:
            return ()
        self.is_owed = False
        said = self._run(_UNDO, _REMOVE_S, check=False)
        tell_notes(said.text, self.tell)
        try:
            self.runner.settle(_KEY)
        except CommandFailed as error:
            raise ServiceDown(
                f"{self.keeper.label} does not run, or its data could not be put back. "
                "The device goes on trying.",
                remedy="Look at the service on the device now: its own log says why.",
                detail=f"{said.tail}\n{error.detail}",
            ) from error
        return kept_in(said.text)

    def go_back(self, error: BaseException) -> None:
        """Go back after `error`. Raise ServiceDown when that failed: it is worse than what failed."""
        try:
            self.end()
        except ServiceDown:
            raise
        except AgentError as second:
            self.tell(Said(f"{second.message} The device goes back by itself.", Level.WARNING))

    def _run(self, script: str, timeout_s: float, *, check: bool) -> Result:
        return self.runner.run(self._command(script), timeout_s=timeout_s, check=check)

    def _command(self, script: str) -> Command:
        waits = f"START_WAIT={self.start_s * 10}"
        source = "\n".join((_HEAD, self.keeper.functions, waits, _functions(), script))
        return Command.of(
            "/bin/sh", "-c", source, "hotfleet", self._hold, *(each.path for each in self.stagings)
        )


_FAILED = {
    "stop": "{label} could not be stopped",
    "swap": "the data could not be swapped",
    "start": "{label} did not start on the restored data",
}


def kept_in(text: str) -> tuple[str, ...]:
    """Given what the undo printed, return the paths of what is kept, each once."""
    told = (line.removeprefix("kept ") for line in text.split("\n") if line.startswith("kept "))
    return tuple(dict.fromkeys(told))


def tail_of(result: Result) -> str:
    """Given what printed a log, return the end of it."""
    return to_text(result.stdout).strip()[-3000:]
