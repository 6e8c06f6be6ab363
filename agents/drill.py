"""The flow of a drill: restore points are restored into a scratch directory and tried, and what came out is
written down.

The order of what is undone matters, so it is one ExitStack, unwound from the end: the cage's processes end
with their program, the door to the repository closes, the scratch directory goes, the run on the machine
ends. Whatever dies, the machine's reaper ends the processes and removes the directory, which is owed before
it is made.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

from agents.applications.stored import Stored, StoredPart
from agents.applications.trials import Question, Trial, make_trial, refuse_questions
from agents.commands import Command
from agents.drilling.cage import Bounds, check_tools, try_restored
from agents.drilling.evidence import Check, Evidence, FileHash
from agents.drilling.samples import Count, count_files, find_different, judge_count, sample_files
from agents.errors import PlanRefused, ResticFailed
from agents.events import Event, FileProblem, Level, Phase, Said, Tell
from agents.facts import read_facts
from agents.flow import Control, OpenSession, phase
from agents.following import Follower
from agents.gateway import Rights
from agents.leftovers import clean_leftovers, find_leftovers
from agents.placing import place_restic
from agents.repositories import OpenDoor, RepositoryPlace, open_beside, open_door
from agents.restic import arguments
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.messages import only_restore
from agents.restic.repository import Repository
from agents.runner import Limits, Runner
from agents.scratch import drop_scratch, make_scratch, remove_command
from agents.session import Session

_GIB = 1024 * 1024 * 1024
# A server may be started on it: more than restic takes, but never more than the console's machine can spare.
DRILL_LIMITS = Limits(processors=None, memory_bytes=2 * _GIB, read_concurrency=None, pressure_budget=None)
# Journals, sockets, what a server writes when it starts.
_ROOM_BYTES = 256 * 1024 * 1024
# What somebody wants to write in the cage, beyond twice of what it is thought to need, is no recovery.
_SPARE_BYTES = _GIB
# The last of the disk is for the console and its repositories.
_RESERVE_BYTES = 256 * 1024 * 1024
_REMOVE_S = 6 * 3600.0
_NO_SPACE = "no space left on device"


@dataclass(frozen=True, slots=True)
class DrillRequest:
    """What to prove where. `stored` are the restore points of one source, all of one run; `questions` a
    person's own queries; `sample`: so many files, chosen by chance, are compared with the repository one by
    one."""

    console_id: str
    run_id: str
    place: RepositoryPlace
    binary: Binary
    is_local: bool
    stored: Stored
    questions: tuple[Question, ...] = ()
    sample: int = 20
    limits: Limits = DRILL_LIMITS


def drill(request: DrillRequest, open_session: OpenSession, *, tell: Tell, control: Control) -> Evidence:
    """Restore the points on the machine that `open_session` reaches, try them there, and return what came
    out.

    Data that is bad is evidence with failed checks. Raise PlanRefused when it cannot be drilled (space,
    method), ToolMissing when the machine has no program for it, and any other AgentError when the drill
    itself failed: nothing is known about the data then.
    """
    trial = _make_trial(request)
    with ExitStack() as stack:
        with phase(tell, Phase.CONNECT):
            session = stack.enter_context(closing(open_session()))
            tell(Said(f"Connected: {session.label}."))
            runner = stack.enter_context(
                Runner(session, console_id=request.console_id, run_id=request.run_id, tell=tell)
            )
        work = _Work(request, trial, session, runner, tell, control)
        with phase(tell, Phase.CHECK):
            work.check()
            restic = place_restic(session, runner, request.binary, is_local=request.is_local)
            # a backup of the same device may write there meanwhile
            place, repository = stack.enter_context(open_beside(request.place, request.binary))
        scratch = stack.enter_context(_scratch(runner, _needed_bytes(request.stored, trial) + _RESERVE_BYTES))
        with phase(tell, Phase.TRANSFER):
            work.restore(place, repository, restic, scratch)
        with phase(tell, Phase.VERIFY):
            work.compare(repository, scratch)
            work.try_it(scratch)
        evidence = work.evidence()
        with phase(tell, Phase.CLEAN_UP):
            stack.close()
    return evidence


def _make_trial(request: DrillRequest) -> Trial:
    if not request.stored.parts:
        raise PlanRefused("a drill needs a restore point")
    if request.stored.application:
        return make_trial(request.stored, request.questions)
    refuse_questions(request.questions, "A source of files")
    return Trial(())


def _needed_bytes(stored: Stored, trial: Trial) -> int:
    return int(stored.size_bytes * (1 + trial.room)) + _ROOM_BYTES


@contextmanager
def _scratch(runner: Runner, size_bytes: int) -> Iterator[str]:
    """Make the run's directory and remove it at the end, also when the drill failed: an undo step of the
    journal has 20 seconds, too few for a large tree."""
    scratch = make_scratch(runner, size_bytes)
    try:
        yield scratch
    finally:
        runner.run(remove_command(scratch), timeout_s=_REMOVE_S)
        drop_scratch(runner)


class _Work:
    """The steps of one drill, on one open session."""

    def __init__(
        self,
        request: DrillRequest,
        trial: Trial,
        session: Session,
        runner: Runner,
        tell: Tell,
        control: Control,
    ) -> None:
        self._request = request
        self._trial = trial
        self._session = session
        self._runner = runner
        self._tell = tell
        self._control = control
        self._began = time.monotonic()
        self._restore_s = 0.0
        self._checks: list[Check] = []
        self._count = Count(0, 0)
        self._hashes: tuple[FileHash, ...] = ()

    def check(self) -> None:
        """Look whether the machine can hold a drill, and remove what dead runs left there."""
        facts = read_facts(self._runner)
        for leftover, reason in clean_leftovers(self._runner, find_leftovers(self._runner, facts))[:20]:
            self._tell(Said(f"{leftover.path} stays on the machine: {reason}.", Level.WARNING))
        if self._trial.steps:
            check_tools(self._runner)
        self._control.raise_if_stopped()

    def restore(self, place: RepositoryPlace, repository: Repository, restic: str, scratch: str) -> None:
        """Restore every point below work/tree, each file at its true path, and read all of it again."""
        self._began = time.monotonic()
        self._runner.run(Command.of("mkdir", "-m", "0700", "--", f"{scratch}/work", f"{scratch}/work/tree"))
        with open_door(
            self._session,
            place,
            repository,
            run_id=self._request.run_id,
            rights=Rights.RESTORE,
            control=self._control,
        ) as door:
            problems = _Problems(self._tell)
            follower = Follower(problems.tell, self._control, door.gateway)
            for part in self._request.stored.parts:
                self._restore(part, door, follower, problems, restic, f"{scratch}/work/tree")
        self._restore_s = time.monotonic() - self._began

    def _restore(
        self,
        part: StoredPart,
        door: OpenDoor,
        follower: Follower,
        problems: _Problems,
        restic: str,
        tree: str,
    ) -> None:
        began = time.monotonic()
        name = f"restore {part.part}".strip()
        tool = Restic(restic, takes_locks=False)
        command = arguments.restore(tool, part.restic_id, tree, sparse=True, verify=True)
        self._control.raise_if_stopped()
        program = self._runner.start(command, environment=door.environment, limits=self._request.limits)
        before = problems.count
        try:
            followed = follower.follow("restore", program, lambda: self._runner.stop(program))
        except ResticFailed as error:
            # files that restic could not bring back whole are what a drill is there to find
            if problems.count == before or problems.is_full:
                raise
            said = f"{problems.count - before:,} files could not be restored: {problems.first} {error.detail}"
            self._add(Check(name, False, said[:4000], time.monotonic() - began))
            return
        summary = only_restore(followed.restores)
        follower.add(summary.bytes_restored, summary.files_restored, followed.problem_count)
        is_whole = not followed.problem_count and not summary.files_skipped
        said = f"{summary.bytes_restored:,} bytes were restored and read again"
        if not is_whole:
            said += (
                f"; {followed.problem_count:,} problems, {summary.files_skipped:,} files were there already"
            )
        self._add(Check(name, is_whole, said, time.monotonic() - began))

    def compare(self, repository: Repository, scratch: str) -> None:
        """Compare what lies there with what the restore points record."""
        began = time.monotonic()
        tree = f"{scratch}/work/tree"
        self._count = count_files(self._runner, tree)
        infos = [repository.read_back(part.restic_id) for part in self._request.stored.parts]
        is_application = bool(self._request.stored.application)
        is_good, said = judge_count(infos, self._count, is_application=is_application)
        self._add(Check("manifest", is_good, said, time.monotonic() - began))
        if all(check.is_passed for check in self._checks):
            self._compare_sample(repository, tree)

    def _compare_sample(self, repository: Repository, tree: str) -> None:
        if len(self._request.stored.parts) != 1:
            return
        began = time.monotonic()
        (part,) = self._request.stored.parts
        self._hashes = sample_files(self._runner, tree, self._request.sample)
        if not self._hashes:
            return
        different = find_different(repository, part.restic_id, self._hashes, self._control)
        said = f"{len(self._hashes)} files, chosen by chance, have the same SHA-256 in the repository"
        if different:
            said = f"{len(different)} of {len(self._hashes)} files differ, the first is {different[0].path}"
        self._add(Check("hashes", not different, said, time.monotonic() - began))

    def try_it(self, scratch: str) -> None:
        """Run the trial of the application. What was not restored whole is tried too: it may tell more."""
        if not self._trial.steps:
            return
        limits = self._request.limits
        if limits.memory_bytes is not None:
            more = int(self._request.stored.size_bytes * self._trial.memory)
            limits = replace(limits, memory_bytes=limits.memory_bytes + more)
        most = 2 * _needed_bytes(self._request.stored, self._trial) + _SPARE_BYTES
        bounds = Bounds(limits, most, _RESERVE_BYTES)
        self._checks += try_restored(
            self._runner, self._trial, scratch, bounds, tell=self._tell, control=self._control
        )

    def evidence(self) -> Evidence:
        """Return what came out."""
        start = next((check.seconds for check in self._checks if check.name == "start"), 0.0)
        return Evidence(
            checks=tuple(self._checks),
            files=self._count.files,
            bytes=self._count.bytes,
            restore_s=self._restore_s,
            start_s=start,
            total_s=time.monotonic() - self._began,
            hashes=self._hashes,
            notes=self._trial.notes,
        )

    def _add(self, check: Check) -> None:
        self._checks.append(check)
        self._tell(Said(f"{check.name}: {check.said}.", Level.INFO if check.is_passed else Level.ERROR))


class _Problems:
    """Listens to what a restore could not bring back."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.count = 0
        self.first = ""
        self.is_full = False

    def tell(self, event: Event) -> None:
        if isinstance(event, FileProblem):
            self.count += 1
            self.first = self.first or f"{event.path}: {event.text}"
            self.is_full = self.is_full or _NO_SPACE in event.text
        self._tell(event)
