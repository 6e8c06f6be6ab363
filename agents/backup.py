"""The flow of a backup: one restore point for each source, read back before it counts.

The order of what is undone matters, so it is one ExitStack, unwound from the end:
1. session and runner: on the device a reaper is armed before anything else is done;
2. snapshots: each undo step is in the device's journal before its step;
3. the door to the repository; it goes first, so that nothing is written after the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from agents.binds import Bind
from agents.commands import Command, to_text
from agents.errors import CommandFailed, FreezeTooLong, RepositoryBroken
from agents.events import Consistency, FileProblem, Froze, Level, Phase, Said, Tell
from agents.facts import DeviceFacts, read_facts
from agents.facts.mounts import is_within
from agents.flow import Control, OpenSession, phase
from agents.following import Followed, Follower
from agents.gateway import Rights
from agents.leftovers import clean_leftovers, find_leftovers
from agents.placing import place_restic
from agents.plan import Plan, PlannedSource, SourceRequest, make_plan
from agents.repositories import OpenDoor, RepositoryPlace, open_door, open_place
from agents.restic import arguments
from agents.restic.arguments import Restic, exclude_lines, files_from_raw
from agents.restic.binary import Binary
from agents.restic.messages import BackupSummary, only_summary
from agents.restic.outcomes import Outcome
from agents.restic.patterns import make_excluded
from agents.restic.repository import Repository
from agents.runner import Limits, Runner
from agents.session import Session
from agents.snapshots import providers
from agents.snapshots.contract import Taken

# The files that changed under a live walk are listed in at most so many bytes of names.
_CHANGED_BYTES = 256 * 1024
# busybox knows no -cnewer. Without a find that looks, nobody may say that nothing changed.
_CHANGED_SCRIPT = """
how=-cnewer
find / -maxdepth 0 "$how" "$2" >/dev/null 2>&1 || how=-newer
find / -maxdepth 0 "$how" "$2" >/dev/null || exit
find "$1" -xdev -type f "$how" "$2" -print0 2>/dev/null | head -c "$3"
"""


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What to back up. `device_name` becomes restic's host name; `freeze_limit_ms` is the policy's."""

    console_id: str
    run_id: str
    device_name: str
    sources: tuple[SourceRequest, ...]
    place: RepositoryPlace
    binary: Binary
    is_local: bool = False
    freeze_limit_ms: float = 10_000.0
    limits: Limits = Limits()  # noqa: RUF009 - frozen, shared safely


@dataclass(frozen=True, slots=True)
class Point:
    """A restore point that was made and read back. `is_complete` False: some files could not be read, or they
    changed while they were read live."""

    source: str
    restic_id: str
    method: str
    consistency: Consistency
    size_bytes: int
    file_count: int
    stored_bytes: int
    problem_count: int
    is_complete: bool


@dataclass(frozen=True, slots=True)
class BackupOutcome:
    """What a backup made, in the order of the policy's sources."""

    points: tuple[Point, ...]
    facts: DeviceFacts
    is_clean: bool = True

    @property
    def is_complete(self) -> bool:
        return self.is_clean and all(point.is_complete for point in self.points)


def back_up(
    request: BackupRequest, open_session: OpenSession, *, tell: Tell, control: Control
) -> BackupOutcome:
    """Back up every source of the request. The repository exists already.

    Raise an AgentError when any source failed: the restore points made before it stay in the repository but
    are not returned, so that no catalogue knows half of a run.
    """
    with ExitStack() as stack:
        with phase(tell, Phase.CONNECT):
            session = stack.enter_context(closing(open_session()))
            tell(Said(f"Connected: {session.label}."))
            runner = stack.enter_context(
                Runner(session, console_id=request.console_id, run_id=request.run_id, tell=tell)
            )
        work = _Work(request, session, runner, tell, control)
        with phase(tell, Phase.CHECK):
            facts, plan = work.check()
            restic = place_restic(session, runner, request.binary, is_local=request.is_local)
            repository = stack.enter_context(open_place(request.place, request.binary, tell))
        with phase(tell, Phase.SNAPSHOT):
            snapshots = stack.enter_context(work.snapshots(plan, facts))
        with phase(tell, Phase.TRANSFER):
            points = work.transfer(plan, snapshots, repository, restic)
        with phase(tell, Phase.VERIFY):
            for point in points:
                _read_back(repository, point, request.run_id, tell)
        with phase(tell, Phase.CLEAN_UP):
            is_clean = _clean_up(stack, tell)
    return BackupOutcome(tuple(points), facts, is_clean)


def _clean_up(stack: ExitStack, tell: Tell) -> bool:
    """Undo everything. The data is safe by now: what cannot be undone is a warning; the device goes on."""
    try:
        stack.close()
    except CommandFailed as error:
        tell(Said(f"{error.message}: {error.detail}", Level.ERROR))
        return False
    return True


class _Work:
    """The steps of one backup, on one open session."""

    def __init__(
        self, request: BackupRequest, session: Session, runner: Runner, tell: Tell, control: Control
    ) -> None:
        self._request = request
        self._session = session
        self._runner = runner
        self._tell = tell
        self._control = control

    def check(self) -> tuple[DeviceFacts, Plan]:
        """Read facts, remove what dead runs left, and decide. Nothing of the device is touched otherwise."""
        facts = read_facts(self._runner, [source.path for source in self._request.sources])
        leftovers = find_leftovers(self._runner, facts)
        for leftover, reason in clean_leftovers(self._runner, leftovers):
            self._tell(Said(f"{leftover.path} stays on the device: {reason}.", Level.WARNING))
        # The snapshots of dead runs must not be planned around; what nobody touched changed no fact.
        if any(not (each.is_foreign or each.is_alive) for each in leftovers):
            facts = read_facts(self._runner, [source.path for source in self._request.sources])
        place = self._request.place
        own_path = str(place.storage or place.path) if self._request.is_local else None
        plan = make_plan(facts, self._request.sources, repository_path=own_path)
        for sentence in plan.sentences:
            self._tell(Said(sentence))
        self._control.raise_if_stopped()
        return facts, plan

    @contextmanager
    def snapshots(self, plan: Plan, facts: DeviceFacts) -> Iterator[list[Taken]]:
        """Take every snapshot of the run; drop them at the end. When a step fails, the runner's close undoes
        what is owed."""
        taken: list[Taken] = []
        for method, paths in plan.paths_by_method().items():
            self._control.raise_if_stopped()
            taken.append(providers()[method].take(self._runner, paths, facts))
            self._check_freeze(taken[-1])
        yield taken
        for each in reversed(taken):
            providers()[each.method].drop(self._runner, each)

    def _check_freeze(self, taken: Taken) -> None:
        limit = self._request.freeze_limit_ms
        if taken.keys:
            label = providers()[taken.method].label
            self._tell(Froze(label, taken.froze_ms or taken.held_ms, limit))
        if taken.froze_ms > limit:
            raise FreezeTooLong(
                f"The application was held for {taken.froze_ms:.0f} ms; the policy allows {limit:.0f} ms.",
                remedy="Back up when the device is less busy, or allow a longer freeze in the policy.",
            )

    def transfer(
        self, plan: Plan, snapshots: Sequence[Taken], repository: Repository, restic: str
    ) -> list[Point]:
        """Store each source. Nothing can be written to the repository once this returned."""
        with open_door(
            self._session,
            self._request.place,
            repository,
            run_id=self._request.run_id,
            rights=Rights.BACKUP,
            control=self._control,
        ) as door:
            follower = Follower(self._tell, self._control, door.gateway)
            return [
                self._store(number, source, _binds_of(source, snapshots), Restic(restic), door, follower)
                for number, source in enumerate(plan.sources)
            ]

    def _store(
        self,
        number: int,
        source: PlannedSource,
        binds: Sequence[Bind],
        restic: Restic,
        door: OpenDoor,
        follower: Follower,
    ) -> Point:
        before = door.gateway.stored_bytes
        paths = self._runner.write_file(f"paths-{number}", files_from_raw([source.path]))
        command = arguments.backup(
            restic,
            [source.path],
            host=self._request.device_name,
            tags=[_tag_of(self._request.run_id)],
            exclude_file=self._runner.write_file(f"excludes-{number}", exclude_lines(source.excludes)),
            paths_file=paths,
        )
        self._control.raise_if_stopped()
        program = self._runner.start(
            command, environment=door.environment, binds=binds, limits=self._request.limits
        )
        followed = follower.follow("backup", program, lambda: self._runner.stop(program))
        summary = only_summary(followed.backups)
        changed = self._list_changed(source, paths)
        problems = followed.problem_count + changed
        follower.add(summary.total_bytes_processed, summary.total_files_processed, problems)
        return _point(source, summary, followed, problems, door.gateway.stored_bytes - before)

    def _list_changed(self, source: PlannedSource, older_file: str) -> int:
        """Given a file that is older than restic's walk, tell which live files changed since then, without
        those that are not stored anyway."""
        count = 0
        excluded = make_excluded(source.excludes)
        for part in source.parts:
            if part.consistency is not Consistency.NONE:
                continue
            command = Command.of(
                "sh", "-c", _CHANGED_SCRIPT, "sh", part.path, older_file, str(_CHANGED_BYTES)
            )
            result = self._runner.run(command, timeout_s=3600.0)
            for path in to_text(result.stdout).split("\0")[:-1]:
                if excluded is not None and excluded.search(path):
                    continue
                self._tell(FileProblem(path, "changed while it was read"))
                count += 1
        return count


def _binds_of(source: PlannedSource, snapshots: Sequence[Taken]) -> list[Bind]:
    """Return the binds that lie at or below the parts of this source."""
    roots = [part.path for part in source.parts]
    return [
        bind
        for taken in snapshots
        for bind in taken.binds
        if any(is_within(bind.true_path, root) for root in roots)
    ]


def _point(
    source: PlannedSource, summary: BackupSummary, followed: Followed, problems: int, stored_bytes: int
) -> Point:
    return Point(
        source=source.path,
        restic_id=summary.snapshot_id,
        method="+".join(source.methods),
        consistency=source.consistency,
        size_bytes=summary.total_bytes_processed,
        file_count=summary.total_files_processed,
        stored_bytes=stored_bytes,
        problem_count=problems,
        is_complete=followed.outcome is Outcome.SUCCESS and problems == 0,
    )


def _tag_of(run_id: str) -> str:
    return f"hotfleet-run={run_id}"


def _read_back(repository: Repository, point: Point, run_id: str, tell: Tell) -> None:
    """Read the restore point from the disk. Raise RepositoryBroken when it is not what the device said, or
    not of this run: an old one named once more would look like a new backup."""
    info = repository.read_back(point.restic_id)
    recorded = info.summary.total_files_processed if info.summary is not None else None
    is_of_run = _tag_of(run_id) in info.tags
    if not is_of_run or info.paths != (point.source,) or recorded != point.file_count:
        raise RepositoryBroken(
            f"The restore point of {point.source} does not hold what the device said that it stored.",
            remedy="Do not trust this device until you know why.",
        )
    tell(
        Said(f"{point.source}: {point.file_count:,} files, read back as restore point {point.restic_id[:8]}.")
    )
