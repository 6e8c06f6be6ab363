"""The flow of a backup: one restore point for each source, read back before it counts.

The order of what is undone matters, so it is one ExitStack, unwound from the end:
1. session and runner: on the device a reaper is armed before anything else is done;
2. snapshots: each undo step is in the device's journal before its step;
3. the door to the repository; it goes first, so that nothing is written after the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

from agents.applications import read_instances
from agents.errors import CommandFailed, ConnectionLost, DeviceHealed, RepositoryBroken
from agents.events import Level, Phase, Said, Tell
from agents.facts import DeviceFacts, Instance, read_facts
from agents.flow import Control, OpenSession, phase
from agents.following import Follower
from agents.gateway import Rights
from agents.leftovers import clean_leftovers, find_leftovers
from agents.moments import stopped, take_moment
from agents.placing import place_restic
from agents.plan import Plan, PlannedSource, SourceRequest, make_plan
from agents.repositories import RepositoryPlace, open_door, open_place
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.repository import Repository
from agents.resting import ANY_HOUR, Hours, Resting
from agents.runner import Limits, Runner
from agents.scratch import drop_scratch, make_scratch, scratch_path
from agents.served import Served
from agents.session import Session
from agents.snapshots import providers
from agents.snapshots.contract import Taken
from agents.storing import Point, Store, Watch, find_binds
from agents.unchanged import KnownPoint, find_unchanged, proof_of
from agents.watching import watch_device

__all__ = ["BackupOutcome", "BackupRequest", "KnownPoint", "Point", "back_up"]

# A device may hold any number of things with names like ours: so many are told one by one.
_MOST_LEFTOVERS = 20


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What to back up. `device_name` becomes restic's host name. `known` are the last good restore points:
    what can be proven to be unchanged is not read again. `seen` are applications as the backup before saw
    them, to tell what they usually do. `expected_files`: how many files the repository
    holds, as far as known, since restic needs memory for each."""

    console_id: str
    run_id: str
    device_name: str
    sources: tuple[SourceRequest, ...]
    place: RepositoryPlace
    binary: Binary
    is_local: bool = False
    limits: Limits = Limits()  # noqa: RUF009 - frozen, shared safely
    known: tuple[KnownPoint, ...] = ()
    seen: tuple[Instance, ...] = ()
    expected_files: int = 0
    hours: Hours = ANY_HOUR


@dataclass(frozen=True, slots=True)
class BackupOutcome:
    """What a backup made, in the order of the policy's sources. `waiting` wait for the cold window, the
    service of `elsewhere` is not on the device now."""

    points: tuple[Point, ...]
    facts: DeviceFacts
    is_clean: bool = True
    waiting: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()

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
            served = Served(facts, plan, request.seen)
            unchanged = work.find_unchanged(plan, facts)
            plan = plan.without(point.source for point in unchanged)
            if not plan.sources:
                return _finish(unchanged, facts, plan, stack, tell)
            restic = place_restic(session, runner, request.binary, is_local=request.is_local)
            repository = stack.enter_context(open_place(request.place, request.binary, tell))
        watcher = stack.enter_context(watch_device(runner, request.limits, tell))
        with phase(tell, Phase.SNAPSHOT):
            stack.enter_context(work.scratch(plan))
            snapshots = stack.enter_context(work.snapshots(plan, facts))
        watcher.begin()
        with phase(tell, Phase.TRANSFER):
            points = work.transfer(plan, facts, snapshots, repository, restic)
            served.tell(runner, tell)
        with phase(tell, Phase.VERIFY):
            for point in points:
                _read_back(repository, point, request.run_id, tell)
        order = [source.key for source in request.sources]
        made = sorted([*unchanged, *points], key=lambda point: order.index(point.source))
        return _finish(made, facts, plan, stack, tell)


def _finish(
    points: Sequence[Point], facts: DeviceFacts, plan: Plan, stack: ExitStack, tell: Tell
) -> BackupOutcome:
    with phase(tell, Phase.CLEAN_UP):
        is_clean = _clean_up(stack, tell)
    waiting, elsewhere = (tuple(each.path for each in some) for some in (plan.waiting, plan.elsewhere))
    return BackupOutcome(tuple(points), facts, is_clean, waiting, elsewhere)


def _clean_up(stack: ExitStack, tell: Tell) -> bool:
    """Undo everything. The data is safe by now: what cannot be undone is a warning; the device goes on."""
    try:
        stack.close()
    except (CommandFailed, ConnectionLost, DeviceHealed) as error:
        detail = f": {error.detail}" if error.detail else ""
        tell(Said(f"{error.message}{detail}. The device cleans up by itself.", Level.ERROR))
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
        facts = self._read_facts()
        leftovers = find_leftovers(self._runner, facts)
        stays = clean_leftovers(self._runner, leftovers)
        for leftover, reason in stays[:_MOST_LEFTOVERS]:
            self._tell(Said(f"{leftover.path} stays on the device: {reason}.", Level.WARNING))
        if len(stays) > _MOST_LEFTOVERS:
            self._tell(Said(f"{len(stays):,} things of other runs stay on the device.", Level.WARNING))
        # The snapshots of dead runs must not be planned around; what nobody touched changed no fact.
        if any(not (each.is_foreign or each.is_alive) for each in leftovers):
            facts = self._read_facts()
        place = self._request.place
        own_path = str(place.storage or place.path) if self._request.is_local else None
        plan = make_plan(
            facts,
            self._request.sources,
            repository_path=own_path,
            scratch=scratch_path(self._runner.name),
        )
        for sentence in plan.sentences:
            self._tell(Said(sentence))
        self._control.raise_if_stopped()
        return facts, plan

    def find_unchanged(self, plan: Plan, facts: DeviceFacts) -> list[Point]:
        """Return a restore point for each source that is proven to hold what its last good one holds."""
        found = find_unchanged(self._runner, facts, plan.sources, self._request.known, self._request.place)
        points = []
        for source in plan.sources:
            if source.key not in found:
                continue
            known = found[source.key]
            since = f"nothing changed since restore point {known.restic_id[:8]}"
            self._tell(Said(f"{source.key}: {since}, as its file system proves."))
            points.append(_unchanged_point(source, known))
        return points

    def _read_facts(self) -> DeviceFacts:
        sources = self._request.sources
        facts = read_facts(self._runner, [source.path for source in sources if source.path])
        wanted = [(source.application, source.instance) for source in sources if source.application]
        return read_instances(self._runner, facts, {name for name, _ in wanted}, wanted) if wanted else facts

    @contextmanager
    def scratch(self, plan: Plan) -> Iterator[None]:
        """Make the directory that streams need, and remove it at the end."""
        size_bytes = sum(source.scratch_bytes for source in plan.sources)
        if size_bytes:
            make_scratch(self._runner, size_bytes)
        yield
        if size_bytes:
            drop_scratch(self._runner)

    @contextmanager
    def snapshots(self, plan: Plan, facts: DeviceFacts) -> Iterator[list[Taken]]:
        """Take every snapshot of the run, moment by moment; drop them at the end. When a step fails, the
        runner's close undoes what is owed."""
        taken: list[Taken] = []
        for number, moment in enumerate(plan.moments):
            self._control.raise_if_stopped()
            taken += take_moment(self._runner, moment, number, facts, moment.limit_ms, self._tell)
        yield taken
        for each in reversed(taken):
            providers()[each.method].drop(self._runner, each)

    def transfer(
        self,
        plan: Plan,
        facts: DeviceFacts,
        snapshots: Sequence[Taken],
        repository: Repository,
        restic: str,
    ) -> list[Point]:
        """Store each source. Nothing can be written to the repository once this returned."""
        watch = Watch(self._control, self._runner, snapshots)
        with open_door(
            self._session,
            self._request.place,
            repository,
            run_id=self._request.run_id,
            rights=Rights.BACKUP,
            control=self._control,
        ) as door:
            store = Store(
                runner=self._runner,
                restic=Restic(restic),
                door=door,
                follower=Follower(self._tell, watch, door.gateway),
                control=watch,
                tell=self._tell,
                host=self._request.device_name,
                tag=_tag_of(self._request.run_id),
                limits=self._request.limits.for_files(self._request.expected_files),
                resting=Resting(self._request.hours, self._runner, watch, self._tell),
            )
            points: list[Point] = []
            for number, source in enumerate(plan.sources):
                points += self._store(store, number, source, facts, snapshots)
            watch.check()
        return points

    def _store(
        self,
        store: Store,
        number: int,
        source: PlannedSource,
        facts: DeviceFacts,
        snapshots: Sequence[Taken],
    ) -> list[Point]:
        if store.resting is not None:
            store.resting.wait()
        if source.streams:
            return [
                store.store_stream(number * 1000 + at, source, stream)
                for at, stream in enumerate(source.streams)
            ]
        if not source.stays_stopped or source.quiesce is None:
            point = store.store(number, source, find_binds(source, snapshots))
            is_whole = point.is_complete and not point.problem_count
            return [replace(point, proof=proof_of(source, snapshots) if is_whole else "")]
        limit_ms = source.request.longest_downtime_s * 1000.0
        binds = [
            bind
            for part in source.parts
            for bind in providers()[part.method].prepare(self._runner, [part.path], facts).binds
        ]
        if source.quiesce.is_stop:
            store.warm(number, source, binds)
            store = replace(store, limits=store.limits.unpaused)  # a pause is downtime
        store = replace(store, resting=None)
        with stopped(self._runner, [source.quiesce], 1000 + number, limit_ms, self._tell):
            return [store.store(number, source, binds)]


def _unchanged_point(source: PlannedSource, known: KnownPoint) -> Point:
    return Point(
        source=source.key,
        part="",
        group=source.request.group,
        paths=source.paths,
        restic_id=known.restic_id,
        method=known.method,
        consistency=known.consistency,
        size_bytes=known.size_bytes,
        file_count=known.file_count,
        stored_bytes=0,
        problem_count=0,
        is_complete=True,
        proof=known.proof,
        is_unchanged=True,
    )


def _tag_of(run_id: str) -> str:
    return f"hotfleet-run={run_id}"


def _read_back(repository: Repository, point: Point, run_id: str, tell: Tell) -> None:
    """Read the restore point from the disk. Raise RepositoryBroken when it is not what the device said, or
    not of this run: an old one named once more would look like a new backup."""
    info = repository.read_back(point.restic_id)
    recorded = info.summary.total_files_processed if info.summary is not None else None
    is_of_run = _tag_of(run_id) in info.tags
    if not is_of_run or info.paths != point.paths or recorded != point.file_count:
        raise RepositoryBroken(
            f"The restore point of {point.source} does not hold what the device said that it stored.",
            remedy="Do not trust this device until you know why.",
        )
    tell(
        Said(f"{point.source}: {point.file_count:,} files, read back as restore point {point.restic_id[:8]}.")
    )
