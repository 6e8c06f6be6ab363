"""A moment: applications are held still, snapshots are taken, applications go on.

It is one script on the device, so that no way through a network is part of a freeze. What must be undone is
in the device's journal before the script starts, with a deadline of its own: when the script, the runner or
the console dies, or when it takes longer than the policy allows, the device lets go by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

from agents.applications import NOT_HELD, Quiesce
from agents.commands import Command, Result, to_text
from agents.errors import AgentError, CommandFailed, FreezeTooLong, ProtocolBroken, QuiesceFailed, ServiceDown
from agents.events import Froze, FrozenStep, Level, Said, Tell
from agents.facts import DeviceFacts
from agents.hearing import hear_at_most
from agents.plan import Moment
from agents.runner import Runner
from agents.snapshots import providers
from agents.snapshots.contract import Shot, Taken

# busybox may know no nanoseconds: then the uptime, which has hundredths.
_FRAME = r"""
set -u
clock() {
  clock=$(date +%s%N)
  case $clock in
    *[!0-9]* | ??????????)
      read -r clock _ </proc/uptime
      clock=${clock%.*}${clock#*.}0000000
      ;;
  esac
}
step() { # verb, number, function
  clock
  before=$clock
  "$3"
  status=$?
  clock
  printf 'step %s %s %s %s %s\n' "$1" "$2" "$status" "$before" "$clock"
  return "$status"
}
"""
# What a script may need beyond the time that the policy allows: starting and ending, and a service that comes
# up.
_SLACK_S = 120.0
_MOST_NOTES = 50
# One script runs at a time.
_ENDED = "moment.ended"
_STEP = re.compile(r"(hold|take|release) ([0-9]{1,4}) ([0-9]{1,3}) ([0-9]{1,20}) ([0-9]{1,20})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a script, as it ran on the device. Times are the device's, in nanoseconds."""

    verb: str
    number: int
    status: int
    before_ns: int
    after_ns: int

    @property
    def milliseconds(self) -> float:
        return max(0, self.after_ns - self.before_ns) / 1e6


def take_moment(
    runner: Runner, moment: Moment, number: int, facts: DeviceFacts, limit_ms: float, tell: Tell
) -> list[Taken]:
    """Given a moment of the plan and its number, hold, take and let go; return what was taken.

    Raise QuiesceFailed when an application cannot be held, ServiceDown when one does not run again,
    FreezeTooLong when it took longer than `limit_ms`, CommandFailed when a snapshot fails. What was taken
    until then stays in the journal: the runner's close drops it."""
    for quiesce in moment.quiesces:
        for command in quiesce.before:
            _run_before(runner, quiesce, command, tell)
    shots = [
        providers()[method].prepare(runner, paths, facts, number=number)
        for method, paths in moment.paths_by_method().items()
    ]
    holds = [_Hold(runner, quiesce, f"{number}-{at}") for at, quiesce in enumerate(moment.quiesces)]
    scripts = [shot for shot in shots if shot.script]
    if scripts or holds:
        with _letting_go(runner, holds, limit_ms, tell):
            said = _run(runner, _render(holds, scripts, release=True), limit_ms)
            steps = _parse(said, tell, len(holds), len(scripts))
        _let_go(holds, steps, tell)
        _judge(said, steps, holds, scripts)
        _refuse_not_held(said, steps, holds)
        _tell_receipts(steps, holds, scripts, limit_ms, min(limit_ms, moment.freeze_limit_ms), tell)
    return [providers()[shot.method].finish(runner, shot) for shot in shots]


@contextmanager
def stopped(
    runner: Runner, quiesces: Sequence[Quiesce], number: int, limit_ms: float, tell: Tell
) -> Iterator[None]:
    """Hold for as long as the context lasts: for what no snapshot can be taken of. Raise as `take_moment`."""
    holds = [_Hold(runner, quiesce, f"{number}-{at}") for at, quiesce in enumerate(quiesces)]
    for quiesce in quiesces:
        for command in quiesce.before:
            _run_before(runner, quiesce, command, tell)
    with _letting_go(runner, holds, limit_ms, tell):
        said = _run(runner, _render(holds, [], release=False), limit_ms)
        began = _parse(said, tell, len(holds))
        if not said.is_success:
            _let_go(holds, [], tell)
            _judge(said, began, holds, [])
        yield
        said = _run(runner, _render_release(holds), limit_ms)
        steps = began + _parse(said, tell, len(holds))
    _let_go(holds, steps, tell)
    _refuse_not_held(said, steps, holds)
    _tell_receipts(steps, holds, [], limit_ms, limit_ms, tell)


class _Hold:
    """A quiesce on its way: its directory on the device and its key in the journal."""

    def __init__(self, runner: Runner, quiesce: Quiesce, name: str) -> None:
        self._runner = runner
        self.quiesce = quiesce
        self.key = f"hold-{name}"
        self.directory = f"{runner.directory}/{self.key}"
        self.limit_ms = 0.0
        self.is_owed = False

    def owe(self, limit_ms: float) -> None:
        if self.quiesce.is_watch:
            return  # nothing is held: there is nothing to undo, and no limit
        self.limit_ms = limit_ms
        # An undo that is forced first takes the directory: then the hold cannot begin any more.
        undo = f'hold=$1\nmkdir -m 0700 -- "$hold" 2>/dev/null\n{self.quiesce.undo}\n'
        command = Command.of("/bin/sh", "-c", undo, "hotfleet", self.directory)
        # The device counts whole seconds, and the one that runs now is one of them.
        self._runner.owe(self.key, command, within_s=ceil(limit_ms / 1000) + 1)
        self.is_owed = True

    def settle(self) -> None:
        """Let go, once: what was let go, or given up, is the device's alone."""
        if self.is_owed:
            self.is_owed = False
            self._runner.settle(self.key)


def _run_before(runner: Runner, quiesce: Quiesce, command: Command, tell: Tell) -> None:
    result = runner.run(_heard(runner, command), timeout_s=_SLACK_S, check=False)
    _parse(result, tell, 0)
    if not result.is_success:
        raise QuiesceFailed(f"{quiesce.label} cannot be held still now: {result.tail}", detail=result.tail)


def _render(holds: Sequence[_Hold], shots: Sequence[Shot], *, release: bool) -> str:
    """Return the script. A source is the body of a function, so that it may return early."""
    lines = [_FRAME]
    for at, hold in enumerate(holds):
        head = f'hold_{at}() {{\nhold=$dir/{hold.key}\nmkdir -m 0700 -- "$hold" || return 1'
        lines.append(f"{head}\n{hold.quiesce.hold}\n}}")
    lines += [f"take_{at}() {{\n{shot.script}\n}}" for at, shot in enumerate(shots)]
    lines += [_release(at, hold) for at, hold in enumerate(holds)]
    lines.append("work() {")
    for at, hold in enumerate(holds):
        lines.append(f"step hold {at} hold_{at} || return 1")
        # What was undone while it was being held is owed by nobody any more: the script itself lets go.
        lines.append(f'[ ! -e "$dir/overdue/{hold.key}" ] || return 1')
    lines += [f"step take {at} take_{at} || return 1" for at in range(len(shots))]
    lines += [":", "}", "work", "failed=$?"]
    stops = [f"step release {at} release_{at} || failed=1" for at in reversed(range(len(holds)))]
    lines += stops if release else ['[ "$failed" = 0 ] || {', ":", *stops, "}"]
    lines.append('exit "$failed"')
    return "\n".join(lines)


def _render_release(holds: Sequence[_Hold]) -> str:
    """Return the script that lets go in another shell: by the undo, which needs nothing of the first."""
    lines = [_FRAME]
    for at, hold in enumerate(holds):
        lines.append(f"release_{at}() {{\nhold=$dir/{hold.key}\n{hold.quiesce.undo}\n}}")
    lines += ["failed=0"]
    lines += [f"step release {at} release_{at} || failed=1" for at in reversed(range(len(holds)))]
    lines.append('exit "$failed"')
    return "\n".join(lines)


def _release(at: int, hold: _Hold) -> str:
    return f"release_{at}() {{\nhold=$dir/{hold.key}\n{hold.quiesce.release}\n}}"


def _run(runner: Runner, script: str, limit_ms: float) -> Result:
    command = Command.of("/bin/sh", "-c", f"dir=$1\n{script}", "hotfleet", runner.directory)
    return runner.run(_heard(runner, command), timeout_s=limit_ms / 1000 + _SLACK_S, check=False)


def _heard(runner: Runner, command: Command) -> Command:
    return hear_at_most(command, f"{runner.directory}/{_ENDED}")


def _parse(said: Result, tell: Tell, holds: int, shots: int = 0) -> list[Step]:
    """Given what a script of so many holds and shots printed, return its steps and tell its notes. Raise
    ProtocolBroken for nonsense."""
    counts = {"hold": holds, "take": shots, "release": holds}
    steps: list[Step] = []
    notes = 0
    for line in to_text(said.stdout).splitlines():
        word, _, rest = line.partition(" ")
        if word == "note" and notes < _MOST_NOTES:
            notes += 1
            tell(Said(rest[:1000]))
        elif word == "step":
            words = _STEP.fullmatch(rest)
            if words is None or int(words[2]) >= counts[words[1]]:
                raise ProtocolBroken("the device did not say how long a freeze took", detail=line[:300])
            steps.append(Step(words[1], *map(int, words.groups()[1:])))
    return steps


@contextmanager
def _letting_go(runner: Runner, holds: Sequence[_Hold], limit_ms: float, tell: Tell) -> Iterator[None]:
    """Owe every hold. Whatever fails inside, what stands still goes on at once, not when the run is closed.

    Raise ServiceDown when a service does not run again: that is worse than what failed."""
    try:
        for hold in holds:
            hold.owe(limit_ms)
        yield
    except BaseException as error:
        _let_go_after(runner, error, holds, limit_ms, tell)
        raise


def _let_go(holds: Sequence[_Hold], steps: Sequence[Step], tell: Tell) -> None:
    """Strike every hold from the journal, newest first; whatever did not let go is let go now.

    No one that fails keeps the next from it. Raise the worst of what went wrong: ServiceDown first, then
    FreezeTooLong."""
    failed = {step.number for step in steps if step.verb == "release" and step.status not in (0, NOT_HELD)}
    troubles: list[AgentError] = []
    for at, hold in reversed(list(enumerate(holds))):
        try:
            hold.settle()
        except FreezeTooLong as error:
            troubles.append(_let_go_by_itself(hold, error))
        except CommandFailed as error:
            troubles.append(_not_let_go(hold.quiesce, error))
        except AgentError as error:
            troubles.append(error)
        else:
            if at in failed:
                tell(Said(f"{hold.quiesce.label} was let go only at the second try.", Level.WARNING))
    worst = min(troubles, key=_badness, default=None)
    for trouble in troubles:
        if trouble is not worst:
            tell(Said(trouble.message, Level.ERROR))
    if worst is not None:
        raise worst


def _badness(trouble: AgentError) -> int:
    return 0 if isinstance(trouble, ServiceDown) else 1 if isinstance(trouble, FreezeTooLong) else 2


def _let_go_by_itself(hold: _Hold, error: FreezeTooLong) -> FreezeTooLong:
    how = "stopped" if hold.quiesce.is_stop else "held"
    return FreezeTooLong(
        f"{hold.quiesce.label} was {how} for longer than the policy allows "
        f"({hold.limit_ms / 1000:g} s): the device let it go by itself, and nothing of this is kept.",
        remedy="Back up when the device is less busy, or allow more time in the policy.",
        detail=error.detail,
    )


def _not_let_go(quiesce: Quiesce, error: CommandFailed) -> AgentError:
    kind = ServiceDown if quiesce.is_stop else QuiesceFailed
    what = "does not run again" if quiesce.is_stop else "could not be let go"
    return kind(
        f"{quiesce.label} {what}. The device goes on trying.",
        remedy="Look at the service on the device now: its own log says why.",
        detail=error.detail,
    )


def _let_go_after(
    runner: Runner, error: BaseException, holds: Sequence[_Hold], limit_ms: float, tell: Tell
) -> None:
    """Let go after `error`. By a script first: a service may start for longer than an undo step may take."""
    try:
        if any(hold.quiesce.is_stop and hold.is_owed for hold in holds):
            _run(runner, _render_release(holds), limit_ms)
        _let_go(holds, [], tell)
    except ServiceDown as down:
        if down is not error:
            raise down from error
    except AgentError as second:
        tell(Said(f"{second.message} The device lets go by itself.", Level.WARNING))


def _judge(said: Result, steps: Sequence[Step], holds: Sequence[_Hold], shots: Sequence[Shot]) -> None:
    for step in steps:
        if step.verb == "hold" and step.status:
            label = holds[step.number].quiesce.label
            why = "does not stand still" if holds[step.number].quiesce.is_watch else "could not be held still"
            raise QuiesceFailed(f"{label} {why}; it goes on.", detail=said.tail)
        if step.verb == "take" and step.status:
            label = providers()[shots[step.number].method].label
            raise CommandFailed(f"The {label} could not be taken.", detail=said.tail)
    done = [step.verb for step in steps]
    is_told = any(step.verb == "release" and step.status for step in steps)
    is_whole = done.count("hold") == len(holds) and done.count("take") == len(shots)
    if not is_whole or not (said.is_success or is_told):
        raise QuiesceFailed("The moment of the snapshot was cut off on the device.", detail=said.tail)


def _refuse_not_held(said: Result, steps: Sequence[Step], holds: Sequence[_Hold]) -> None:
    for step in steps:
        if step.verb == "release" and step.status == NOT_HELD:
            quiesce = holds[step.number].quiesce
            what = "did not stand still" if quiesce.is_stop or quiesce.is_watch else "was not held"
            raise QuiesceFailed(f"{quiesce.label} {what} until the end.", detail=said.tail)
    if sum(step.verb == "release" for step in steps) != len(holds):
        raise QuiesceFailed("The device does not say that all was held until the end.", detail=said.tail)


def _tell_receipts(
    steps: Sequence[Step],
    holds: Sequence[_Hold],
    shots: Sequence[Shot],
    limit_ms: float,
    freeze_ms: float,
    tell: Tell,
) -> None:
    """Tell how long what waited, in all and step by step. Raise FreezeTooLong when it was too long:
    `freeze_ms` is for what waits beside a service that stands still for `limit_ms`."""
    stops = {at for at, hold in enumerate(holds) if hold.quiesce.is_stop}
    freezes = {at for at, hold in enumerate(holds) if hold.quiesce.holds} - stops
    for numbers in (stops, freezes):
        if numbers:
            label = ", ".join(holds[at].quiesce.label for at in sorted(numbers))
            inner = [step for step in steps if step.verb == "take" or step.number in numbers]
            is_stop = numbers is stops
            froze = _make_receipt(label, inner, holds, shots, limit_ms if is_stop else freeze_ms, is_stop)
            tell(froze)
            _refuse_too_long(froze)
    if not stops and not freezes and shots:
        # Nobody was held by us: the file system held writers for a part of this.
        label = ", ".join(dict.fromkeys(providers()[shot.method].label for shot in shots))
        taken = [step for step in steps if step.verb == "take"]
        tell(_make_receipt(label, taken, holds, shots, limit_ms, False))


def _make_receipt(
    label: str,
    steps: Sequence[Step],
    holds: Sequence[_Hold],
    shots: Sequence[Shot],
    limit_ms: float,
    is_stop: bool,
) -> Froze:
    total = (max(step.after_ns for step in steps) - min(step.before_ns for step in steps)) / 1e6
    names = {"hold": "stop", "release": "start"} if is_stop else {"hold": "hold", "release": "release"}
    said = []
    for step in steps:
        if step.verb == "take":
            what = providers()[shots[step.number].method].label
        else:
            what = f"{names[step.verb]} {holds[step.number].quiesce.label}"
        said.append(FrozenStep(what, step.milliseconds))
    return Froze(label, total, limit_ms, tuple(said), is_stop)


def _refuse_too_long(froze: Froze) -> None:
    if froze.milliseconds > froze.limit_milliseconds:
        how, word = ("stopped", "downtime") if froze.is_stop else ("held", "freeze")
        raise FreezeTooLong(
            f"{froze.what}: {how} for {froze.milliseconds:,.0f} ms; the policy allows "
            f"{froze.limit_milliseconds:,.0f} ms. It goes on, and the snapshot is dropped.",
            remedy=f"Back up when the device is less busy, or allow a longer {word} in the policy.",
        )
