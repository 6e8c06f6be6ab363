"""The flow of a restore onto a device: restic writes into staging, what is there is swapped into place."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing

from agents.errors import PlanRefused, RepositoryBroken, ResticFailed, RestoreTargetRefused
from agents.events import Event, FileProblem, Level, Moved, Phase, Said, Tell
from agents.facts.mounts import MOUNTS, parse_mounts
from agents.flow import Control, OpenSession, phase
from agents.following import Followed, Follower
from agents.gateway import Rights
from agents.leftovers import heal_restores
from agents.placing import place_restic
from agents.repositories import OpenDoor, open_door, open_place
from agents.restic import arguments
from agents.restic.arguments import Restic
from agents.restic.messages import only_restore
from agents.restic.outcomes import Outcome
from agents.restic.repository import Repository
from agents.restoring import Conflict, Mode, RestoreOutcome, RestoreRequest
from agents.restoring.forecast import Entry, Forecast, forecast
from agents.restoring.legs import Leg, make_legs
from agents.restoring.room import check_room, find_grounds
from agents.restoring.staging import Merged, Staging, Tools, open_staging
from agents.runner import Runner, SupervisedProgram

__all__ = [
    "Conflict",
    "Entry",
    "Forecast",
    "Mode",
    "RestoreOutcome",
    "RestoreRequest",
    "forecast",
    "restore",
]

_KEPT = (
    "What was there was not compared with the restore point. If an earlier restore into this folder was cut "
    "off, some of it may be torn: restore into an empty folder then."
)


def restore(
    request: RestoreRequest, open_session: OpenSession, *, tell: Tell, control: Control
) -> RestoreOutcome:
    """Restore onto the device. Every file is read again and compared with the restore point before anything
    of the device changes (but in Mode.DIRECT, which removes first).

    Raise RestoreTargetRefused when the place is not safe, too small, or changed by somebody meanwhile; and
    any other AgentError when it failed. What was there is there then, see Mode."""
    with ExitStack() as stack:
        with phase(tell, Phase.CONNECT):
            session = stack.enter_context(closing(open_session()))
            tell(Said(f"Connected: {session.label}."))
            runner = stack.enter_context(
                Runner(session, console_id=request.console_id, run_id=request.run_id, tell=tell)
            )
        with phase(tell, Phase.CHECK):
            heal_restores(runner)
            tools = Tools(runner)
            restic = place_restic(session, runner, request.binary, is_local=request.is_local)
            repository = stack.enter_context(open_place(request.place, request.binary, tell))
            mounts = find_grounds(tools, request, parse_mounts(runner.run(MOUNTS).stdout))
            legs = make_legs(request, mounts, is_file=_is_file(repository, request))
            if request.mode is Mode.DIRECT:
                _check_names(repository, request, legs)
            tools.claim(posixpath.commonpath([place for leg in legs for place in leg.places]))
            check_room(tools, legs, request, mounts, needed_bytes=request.size_bytes)
        with phase(tell, Phase.TRANSFER):
            door = stack.enter_context(
                open_door(
                    session,
                    request.place,
                    repository,
                    run_id=request.run_id,
                    rights=Rights.RESTORE,
                    control=control,
                )
            )
            work = _Work(request, runner, restic, door, tell, control)
            outcome = work.restore(tools, legs)
        _tell_outcome(outcome, tell)
        with phase(tell, Phase.CLEAN_UP):
            stack.close()
    return outcome


class _Work:
    """What restic does for one restore, leg by leg, and the swap after it."""

    def __init__(
        self,
        request: RestoreRequest,
        runner: Runner,
        restic: str,
        door: OpenDoor,
        tell: Tell,
        control: Control,
    ) -> None:
        self._request = request
        self._runner = runner
        self._restic = Restic(restic, takes_locks=False)
        self._door = door
        self._watch = _Watch(tell)
        self._control = control
        self._follower = Follower(self._watch, control, door.gateway)

    def restore(self, tools: Tools, legs: Sequence[Leg]) -> RestoreOutcome:
        with ExitStack() as stack:
            stagings = [
                stack.enter_context(open_staging(tools, leg, number)) for number, leg in enumerate(legs)
            ]
            self._control.raise_if_stopped()
            if self._request.mode is Mode.DIRECT:
                for staging in stagings:
                    self._rehearse(staging)
                self._watch(Said("What is there is removed first, as it was asked for.", Level.WARNING))
                for staging in stagings:
                    staging.clear()
            followed = [self._fill(staging) for staging in stagings]
            self._control.raise_if_stopped()
            self._watch(Said("Everything came and was compared. It is put into place."))
            stamp = f"{self._request.moment:%Y-%m-%d %H.%M}"
            merged = [staging.put_into_place(self._request.conflict, stamp) for staging in stagings]
        for each in merged:
            if each.failed:
                self._watch(Said(f"{each.failed:,} could not be put into place. {each.said}", Level.WARNING))
        return make_outcome(followed, merged)

    def _fill(self, staging: Staging) -> Followed:
        """Raise RestoreTargetRefused when the disk was full, whatever restic made of it."""
        try:
            followed = self._run_restic(staging, self._follower)
        except ResticFailed as error:
            if not self._watch.is_full:
                raise
            raise RestoreTargetRefused(
                f"The disk of {staging.leg.destination} was full before everything had come. What is there "
                "was not touched.",
                remedy="Free some space there, pick fewer files, or restore into a folder on a larger disk.",
                detail=error.detail,
            ) from error
        stripped = staging.finish(is_whole_system=self._request.is_whole_system)
        if stripped:
            self._watch(
                Said(
                    f"{stripped:,} files came without their setuid or setgid bit, or are devices and did not "
                    "come: only a restore of a whole system brings these back.",
                    Level.WARNING,
                )
            )
        return followed

    def _rehearse(self, staging: Staging) -> None:
        """Let the device read all folders of the restore point that are to come, before anything is removed.
        Raise RepositoryBroken when it cannot read some of them."""

        def tell(event: Event) -> None:  # nothing moves yet
            if not isinstance(event, Moved):
                self._watch(event)

        follower = Follower(tell, self._control, self._door.gateway)
        followed = self._run_restic(staging, follower, is_rehearsal=True)
        if followed.outcome is not Outcome.SUCCESS or followed.problem_count or followed.error_count:
            raise RepositoryBroken(
                "Not all folders of the restore point can be read: nothing was removed or restored.",
                remedy="Take another restore point, and have the repository checked.",
            )

    def _run_restic(self, staging: Staging, follower: Follower, *, is_rehearsal: bool = False) -> Followed:
        command = arguments.restore(
            self._restic,
            self._request.restic_id,
            staging.target,
            folder=staging.leg.folder,
            names=staging.leg.names,
            sparse=True,
            verify=not is_rehearsal,
            takes_capabilities=self._request.is_whole_system,
            is_rehearsal=is_rehearsal,
        )
        program = self._runner.start(command, environment=self._door.environment, limits=self._request.limits)
        followed = follower.follow("restore", program, _stop(self._runner, program))
        summary = only_restore(followed.restores)
        # A short restore ends before restic says how far it is.
        follower.add(summary.bytes_restored, summary.files_restored, followed.problem_count)
        return followed


class _Watch:
    """Passes events on, and notices that the disk of a device was full: restic goes on without the file."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self.is_full = False

    def __call__(self, event: Event) -> None:
        if isinstance(event, FileProblem) and "no space left" in event.text:
            self.is_full = True
        self._tell(event)


def make_outcome(followed: Sequence[Followed], merged: Sequence[Merged]) -> RestoreOutcome:
    """Given what restic and the swap did for each leg, return what came out."""
    summaries = [summary for each in followed for summary in each.restores]
    skipped, failed = sum(each.skipped for each in merged), sum(each.failed for each in merged)
    problems = sum(each.problem_count for each in followed) + failed
    return RestoreOutcome(
        files=max(0, sum(each.files_restored for each in summaries) - skipped - failed),
        bytes=sum(each.bytes_restored for each in summaries),
        replaced=sum(each.replaced for each in merged),
        kept=sum(each.kept for each in merged),
        renamed=sum(each.renamed for each in merged),
        skipped=skipped,
        problem_count=problems,
        is_complete=not problems
        and not skipped
        and all(each.outcome is Outcome.SUCCESS for each in followed),
    )


def _tell_outcome(outcome: RestoreOutcome, tell: Tell) -> None:
    tell(Said(f"{outcome.files:,} files and folders were restored and compared."))
    if outcome.replaced or outcome.renamed:
        tell(Said(f"{outcome.replaced:,} were replaced, {outcome.renamed:,} came beside what is there."))
    if outcome.skipped:
        tell(Said(f"{outcome.kept:,} were there and kept.", Level.WARNING))
        tell(Said(_KEPT, Level.WARNING))


def _is_file(repository: Repository, request: RestoreRequest) -> bool:
    """Return whether all of a source is asked for and it is a single file: restic wants its folder then."""
    above, _, name = request.base.rstrip("/").rpartition("/")
    if request.paths or not name or request.target is None:
        return False
    entries = repository.list_folder(request.restic_id, above or "/")
    return any(entry.name == name and not entry.is_folder for entry in entries)


def _check_names(repository: Repository, request: RestoreRequest, legs: Sequence[Leg]) -> None:
    """Raise PlanRefused when the restore point lacks something that is picked: what is there would be removed
    for nothing."""
    folders: dict[str, set[str]] = {}
    for leg in legs:
        for name in leg.names:
            above, last = posixpath.split(posixpath.join(leg.folder, name))
            folders.setdefault(above, set()).add(last)
    for folder, wanted in folders.items():
        held = {node.name for node in repository.list_folder(request.restic_id, folder)}
        if lacking := sorted(wanted - held):
            raise PlanRefused(
                f"The restore point holds nothing named {posixpath.join(folder, lacking[0])}.",
                remedy="Pick the files again.",
            )


def _stop(runner: Runner, program: SupervisedProgram) -> Callable[[], None]:
    return lambda: runner.stop(program)
