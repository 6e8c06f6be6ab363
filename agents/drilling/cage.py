"""Running a trial in its cage on the machine of the drill, and reading what comes out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agents.applications.trials import NO_TOOL, Step, Trial
from agents.commands import Command, to_text
from agents.drilling.evidence import Check
from agents.errors import AgentError, CommandFailed, PlanRefused, ProtocolBroken, ToolMissing
from agents.events import Checked, CheckState, Tell
from agents.flow import Control
from agents.runner import Limits, Runner, SupervisedProgram

# Above every number that people, services (systemd's dynamic users) and containers get, below 2^31.
_FIRST_USER, _USERS = 1_900_000_000, 200_000_000
_POLL_S = 1.0
_FIELDS = 6
_MOST_BYTES = 1 << 20  # of one record
_SAID = 4000
# The status of a step that was ended because of the room that it took.
_FULL = "full"
_NO_SPACE = "no space left on device"
_TOOLS = ("unshare", "setpriv", "prlimit", "timeout", "chroot", "mount", "tar", "find", "du", "stat")
_LOOK = Command.of(
    "/bin/sh",
    "-c",
    f'for each in {" ".join(_TOOLS)}; do command -v "$each" >/dev/null || echo "$each"; done; '
    "unshare --help 2>&1 | grep -q -e --kill-child || echo 'unshare of util-linux 2.32'",
)
# The cage is not built yet: nothing of the restored files runs, so nobody can change what is walked here.
_HAND_OVER = r"""
chmod 0700 -- "$1/work" && find "$1/work" -xdev -exec chown -h "$2:$2" {} +
"""


def check_tools(runner: Runner) -> None:
    """Raise ToolMissing when the machine cannot build a cage."""
    missing = runner.run(_LOOK, check=False).text.split("\n")
    if missing[0]:
        raise ToolMissing(
            f"{missing[0]} is missing on the machine of the drill",
            remedy="Install util-linux, coreutils, findutils and tar there, or choose another machine.",
        )


def user_of(run_id: str) -> int:
    """Given a run, return the number of its throw-away user."""
    digest = hashlib.sha256(run_id.encode()).digest()
    return _FIRST_USER + int.from_bytes(digest[:8]) % _USERS


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a trial may take: `limits` while it runs, `most_bytes` for all that lies in the scratch directory,
    and it never takes the last `reserve_bytes` of the disk."""

    limits: Limits
    most_bytes: int
    reserve_bytes: int


def try_restored(
    runner: Runner, trial: Trial, scratch: str, bounds: Bounds, *, tell: Tell, control: Control
) -> tuple[Check, ...]:
    """Given a scratch directory with `work/` restored, run the trial and return a check for each step that
    ran. The cage and every process of it are gone then.

    Raise ToolMissing when the machine has no program for it, PlanRefused when it took more room than it may,
    CommandFailed when there can be no cage."""
    user = str(user_of(runner.run_id))
    runner.run(Command.of("/bin/sh", "-c", _HAND_OVER, "hotfleet", scratch, user), timeout_s=6 * 3600)
    words = ["/bin/sh", runner.write_file("cage", _program()), "build", scratch, user]
    words += [str(bounds.most_bytes // 1024), str(bounds.reserve_bytes // 1024), str(len(trial.files))]
    for number, file in enumerate(trial.files):
        words += [runner.write_file(f"ours-{number}", file.text.encode()), file.name]
    for number, step in enumerate(trial.steps):
        needed = "yes" if step.is_needed else "no"
        source = runner.write_file(f"trial-{number}", step.source.encode())
        words += [step.name, str(step.timeout_s), needed, source]
    control.raise_if_stopped()
    program = runner.start(Command(tuple(words)), environment={}, limits=bounds.limits)
    try:
        return tuple(_follow(runner, program, trial, tell, control))
    finally:
        program.close()


def _follow(
    runner: Runner, program: SupervisedProgram, trial: Trial, tell: Tell, control: Control
) -> Iterator[Check]:
    steps = iter(trial.steps)
    for record in _records(runner, program, control):
        step = next(steps, None)
        if step is None or record[0] != step.name:
            raise ProtocolBroken("the cage reported a step that nobody asked for", detail=record[0][:200])
        check = _judge(step, record)
        tell(Checked(check.name, CheckState.GOOD if check.is_passed else CheckState.BAD, check.said))
        yield check
        if step.is_needed and not check.is_passed:
            steps = iter(())
    if next(steps, None) is not None:
        raise CommandFailed(
            "The trial of the restored data did not come to its end.",
            detail=to_text(program.stderr_tail),
        )


def _records(runner: Runner, program: SupervisedProgram, control: Control) -> Iterator[list[str]]:
    """Yield the fields of each step as it ends. Raise what the control raises, CommandFailed when the cage
    could not be built."""
    rest = b""
    while True:
        try:
            control.raise_if_stopped()
        except AgentError:
            runner.stop(program)
            raise
        try:
            data = program.read(timeout_s=_POLL_S)
        except TimeoutError:
            continue
        *fields, tail = (rest + data).split(b"\0")
        whole = len(fields) // _FIELDS * _FIELDS
        for at in range(0, whole, _FIELDS):
            yield [to_text(field) for field in fields[at : at + _FIELDS]]
        rest = b"\0".join([*fields[whole:], tail])
        if len(rest) > _MOST_BYTES:
            raise ProtocolBroken("the cage says more than a step may say")
        if not data:
            break
    status = program.wait(timeout_s=60)
    if status or rest:
        raise CommandFailed(
            f"The cage for the restored data ended with status {status}.",
            remedy="Look at what it said; it needs a kernel that lets root make namespaces.",
            detail=to_text(program.stderr_tail),
        )


def _judge(step: Step, record: list[str]) -> Check:
    """Given what a step left, return its check. Raise ToolMissing when it found no program, PlanRefused when
    it took too much room."""
    _, status, began, ended, out, err = record
    # who finds no room fails before the watcher sees it
    if status == _FULL or (status != "0" and _NO_SPACE in f"{out}{err}".lower()):
        why = out if status == _FULL else _NO_SPACE
        raise PlanRefused(
            f"The trial of the restored data was ended in the step {step.name}: {why.strip()[:500]}.",
            remedy="Make more room there, or drill on another machine. When it comes again, look what the "
            "data does by itself, such as a trigger, and what your own queries do.",
        )
    if status == str(NO_TOOL):
        what, _, remedy = out.strip().partition("\n")
        raise ToolMissing(f"{what[:500]}.", remedy=remedy[:500], detail=err)
    try:
        seconds = float(ended) - float(began)
    except ValueError as error:
        raise ProtocolBroken("the cage tells no time", detail=repr(record[2:4])[:200]) from error
    said = (out if status == "0" else err or out).strip()[:_SAID]
    if status in ("124", "137") and not said:
        said = f"it did not end within {step.timeout_s:,} s"
    is_passed = status == "0"
    if is_passed and step.question is not None:
        wanted = f"{step.question.comparison} {step.question.value}"
        is_passed = step.question.holds(out)
        said = f"{said or 'nothing'} ({'as expected' if is_passed else 'expected'}: {wanted})"
    return Check(step.name, is_passed, said or f"status {status}", seconds)


@cache
def _program() -> bytes:
    return Path(__file__).with_name("cage.sh").read_bytes()
