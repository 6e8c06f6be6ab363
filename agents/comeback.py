"""The flow by which an application comes back: in place, beside what runs, or one database of a dump.

In place, the order of what is undone matters:
1. the way back is in the device's journal before anything is made there;
2. what is stored is fetched and prepared beside the data, while the old goes on working;
3. one script stops the service, swaps by renames, and starts it;
4. until the application answered, any failure puts the old data back and starts what ran.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

from agents.applications import read_instances
from agents.applications.comebacks import (
    Choice,
    Comeback,
    Course,
    Extraction,
    Home,
    Way,
    comeback_of,
    find_home,
)
from agents.applications.keepers import Keeper, keep_services, look_command
from agents.applications.stored import Stored
from agents.commands import Command
from agents.errors import AgentError, ComebackFailed, CommandFailed, PlanRefused, RestoreTargetRefused
from agents.events import Phase, Said, Tell
from agents.facts import DeviceFacts, Instance, read_facts
from agents.facts.databases import DATABASES, parse_databases
from agents.flow import Control, OpenSession, phase
from agents.gateway import Rights
from agents.leftovers import heal_restores
from agents.placing import place_restic
from agents.repositories import RepositoryPlace, open_door, open_place
from agents.restic.arguments import Restic
from agents.restic.binary import Binary
from agents.restic.repository import Repository
from agents.restoring.staging import Tools
from agents.returning.extracting import extract, scratch_for
from agents.returning.fetching import Fetcher, prepare_all
from agents.returning.staging import make_stagings, plan_stagings
from agents.returning.swapping import Swapper, tail_of
from agents.runner import Runner
from agents.wal.replaying import find_log
from agents.wal.words import Batch, Replay

__all__ = ["Choice", "ComebackOutcome", "ComebackRequest", "Way", "choices", "comeback"]

Fetching = Callable[[], AbstractContextManager[Fetcher]]

_LOOK_EVERY_S = 1.0
# So often in a row the service may be seen standing before that is believed.
_MOST_DOWN = 5
_MOST_ASKED = 20


@dataclass(frozen=True, slots=True)
class ComebackRequest:
    """What comes back, and how. `known` is the instance as it was last seen, for when nothing of it is left.

    `services` are stopped and started around the swap; without any, those that are known. `keep_ending`: what
    was there is kept beside it under its name with this ending ("" removes it once the new data is proven).
    `longest_start_s`: how long the application may take until it answers, recovery included."""

    console_id: str
    run_id: str
    place: RepositoryPlace
    binary: Binary
    is_local: bool
    stored: Stored
    way: Way = Way.IN_PLACE
    known: Instance | None = None
    services: tuple[str, ...] = ()
    keep_ending: str = ""
    longest_start_s: int = 900
    # BESIDE: a folder that does not exist, and a port.
    folder: str = ""
    port: int = 0
    # DATABASE: which stream of a dump, its new name, and of it one table ("" all).
    part: str = ""
    new_name: str = ""
    table: str = ""
    # To a moment after the restore point, with the log that leads there (not DATABASE).
    replay: Replay | None = None


@dataclass(frozen=True, slots=True)
class ComebackOutcome:
    """What came back: where, how much, for how long it stood still, how long until it answered, and what it
    was asked. `kept` are the paths of what was there and was kept; `stop_line` ends and removes what runs
    beside."""

    label: str
    places: tuple[str, ...]
    files: int
    bytes: int
    down_s: float
    answered_s: float
    checks: tuple[str, ...]
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stop_line: str = ""
    # The log of the spool as it was stored for this comeback: one more batch for the catalogue.
    tail: Batch | None = None


def choices(
    stored: Stored, facts: DeviceFacts, known: Instance | None = None, services: tuple[str, ...] = ()
) -> tuple[Choice, ...]:
    """Given what was stored and what is known of the device, return every way with a sentence. Pure.

    Raise PlanRefused when this application does not come back by itself at all."""
    plugin = comeback_of(stored)
    home = find_home(stored, facts, known, services)
    found = plugin.choices(stored, home)
    if _keeper_of(plugin, home) is not None:
        return found
    return tuple(
        replace(
            each,
            is_possible=False,
            reason=_NOBODY.format(label=home.label),
            remedy=_NAME_IT,
            needs_service=True,
        )
        if each.way is Way.IN_PLACE and each.is_possible
        else each
        for each in found
    )


_NOBODY = "nobody knows which service stops and starts {label}"
_NAME_IT = "Name its service."


def comeback(
    request: ComebackRequest, open_session: OpenSession, *, tell: Tell, control: Control
) -> ComebackOutcome:
    """Bring an application back. Raise ComebackFailed when it did not work on the restored data (the old is
    in place again), ServiceDown when the device could not go back, and any other AgentError when nothing was
    replaced."""
    with ExitStack() as stack:
        with phase(tell, Phase.CONNECT):
            session = stack.enter_context(closing(open_session()))
            tell(Said(f"Connected: {session.label}."))
            runner = stack.enter_context(
                Runner(session, console_id=request.console_id, run_id=request.run_id, tell=tell)
            )
        work = _Work(request, runner, tell, control)
        with phase(tell, Phase.CHECK):
            heal_restores(runner)
            what = work.plan()
            restic = place_restic(session, runner, request.binary, is_local=request.is_local)
            repository = stack.enter_context(open_place(request.place, request.binary, tell))
            what = work.replayed(what, repository)

        @contextmanager
        def fetching() -> Iterator[Fetcher]:
            rights, run_id = Rights.RESTORE, request.run_id
            with open_door(
                session, request.place, repository, run_id=run_id, rights=rights, control=control
            ) as door:
                yield Fetcher(runner, Restic(restic, takes_locks=False), door, tell, control)

        outcome = work.extract(what, fetching) if isinstance(what, Extraction) else work.swap(what, fetching)
        with phase(tell, Phase.CLEAN_UP):
            stack.close()
    return replace(outcome, tail=work.tail)


class _Work:
    """One comeback."""

    def __init__(self, request: ComebackRequest, runner: Runner, tell: Tell, control: Control) -> None:
        self._request = request
        self._runner = runner
        self._tell = tell
        self._control = control
        self._plugin = comeback_of(request.stored)
        self._facts: DeviceFacts | None = None
        self.tail: Batch | None = None

    def plan(self) -> Course | Extraction:
        """Return what will be done, with everything that can be known before anything is touched."""
        stored = self._request.stored
        facts = self._look(read_facts(self._runner))
        home = find_home(stored, facts, self._request.known, self._request.services)
        self._facts = facts
        if self._request.way is Way.DATABASE:
            asked = self._request
            words = (asked.part, asked.new_name, asked.table, self._runner.name)
            return self._plugin.extraction(stored, home, *words)
        course = self._plan_course(home)
        for note in course.notes:
            self._tell(Said(note))
        return course

    def replayed(self, what: Course | Extraction, repository: Repository) -> Course | Extraction:
        """Given what was planned, return it with the log that leads to the moment. What of it is in the spool
        only is stored first, so that all comes by one way. Raise PlanRefused when it cannot be reached."""
        wanted = self._request.replay
        if wanted is None:
            return what
        if isinstance(what, Extraction):
            raise PlanRefused("one database of a dump comes back as it was dumped")
        found = find_log(wanted, repository)
        self.tail = found.tail
        if found.tail is not None:
            self._tell(Said(f"{found.tail.bytes:,} bytes of the newest log were stored in the repository."))
        return self._plugin.replayed(what, found.log)

    def _plan_course(self, home: Home) -> Course:
        stored, tools = self._request.stored, Tools(self._runner)
        if self._request.way is Way.BESIDE:
            course = self._plugin.beside(stored, home, self._request.folder, self._request.port)
            if not tools.look(self._request.folder).is_safe:
                raise RestoreTargetRefused(
                    f"{self._request.folder} has parents that others than root may change.",
                    remedy="Name a folder whose parents belong to root, for example in /var/lib.",
                )
        else:
            keeper = _keeper_of(self._plugin, home)
            if keeper is None:
                raise PlanRefused(_NOBODY.format(label=home.label), remedy=_NAME_IT)
            self._look_for(keeper)
            course = self._plugin.course(stored, home, keeper)
        tools.claim(course.home.data)
        return course

    def _look_for(self, keeper: Keeper) -> None:
        """Raise PlanRefused when one of its services is not there: now, and not after all was fetched."""
        said = self._runner.run(look_command(keeper), timeout_s=120, check=False)
        if not said.is_success:
            raise PlanRefused(
                f"The service cannot be stopped and started. {said.text.strip()[:500] or said.tail}.",
                remedy="Name it as the device does (systemctl list-units -t service), or install it first.",
            )

    def extract(self, extraction: Extraction, fetching: Fetching) -> ComebackOutcome:
        """Bring one database back while its server goes on working."""
        with (
            phase(self._tell, Phase.TRANSFER),
            scratch_for(self._runner, extraction) as scratch,
            fetching() as fetcher,
        ):
            count = extract(self._runner, fetcher, extraction, scratch, self._tell, self._control)
        name, said = self._request.new_name, f"{count} tables came back"
        self._tell(Said(f"{extraction.label}: {said}."))
        return ComebackOutcome(extraction.label, (name,), fetcher.files, fetcher.bytes, 0.0, 0.0, (said,))

    def swap(self, course: Course, fetching: Fetching) -> ComebackOutcome:
        """Bring a whole instance back."""
        with self._swapper(course) as swapper:
            with phase(self._tell, Phase.TRANSFER), fetching() as fetcher:
                fetcher.fetch_all(course, swapper.stagings)
                prepare_all(self._runner, course, swapper.stagings, self._tell, self._control)
            outcome = self._exchange(course, swapper, fetcher)
            return replace(outcome, kept=swapper.end())

    @contextmanager
    def _swapper(self, course: Course) -> Iterator[Swapper]:
        """The stagings, and the way back when anything inside fails."""
        if self._facts is None:
            raise ValueError("nothing was planned")
        stagings = plan_stagings(course, self._facts, self._runner.name)
        swapper = Swapper(self._runner, course.keeper, stagings, self._request.longest_start_s, self._tell)
        swapper.owe()
        try:
            make_stagings(self._runner, course, stagings, self._tell)
            yield swapper
        except BaseException as error:
            swapper.go_back(error)
            raise

    def _exchange(self, course: Course, swapper: Swapper, fetcher: Fetcher) -> ComebackOutcome:
        self._control.raise_if_stopped()
        # beside what runs there is nothing to keep
        ending = "" if course.is_fresh else self._request.keep_ending
        with phase(self._tell, Phase.SWAP):
            try:
                down_ms = swapper.swap(ending)
            except CommandFailed as error:
                raise self._failed(course, swapper, error) from error
        with phase(self._tell, Phase.VERIFY):
            began = time.monotonic()
            try:
                instance = self._await(course.home, swapper)
                checks = self._check(instance)
            except CommandFailed as error:
                raise self._failed(course, swapper, error) from error
            answered_s = time.monotonic() - began
            swapper.accept()
        home = course.home
        self._tell(Said(f"{home.label} runs on the restored data: {', '.join(checks) or 'it answers'}."))
        places = tuple(seat.path for seat in course.seats)
        return ComebackOutcome(
            home.label, places, fetcher.files, fetcher.bytes, down_ms / 1000, answered_s, checks,
            notes=course.notes, stop_line=course.stop_line,
        )  # fmt: skip

    def _await(self, home: Home, swapper: Swapper) -> Instance:
        """Return the instance once it answers. Raise CommandFailed when it does not in time, or stands."""
        until = time.monotonic() + self._request.longest_start_s
        down = 0
        while True:
            self._control.raise_if_stopped()
            found = self._find(home)
            if found is not None and self._plugin.answers(found):
                return found
            down = 0 if swapper.is_running() else down + 1
            if down >= _MOST_DOWN:
                raise CommandFailed(f"{home.label} ended soon after it was started on the restored data")
            if time.monotonic() > until:
                why = "; ".join(found.problems) if found is not None else "it was not found"
                raise CommandFailed(f"{home.label} does not answer on the restored data: {why}"[:1000])
            time.sleep(_LOOK_EVERY_S)

    def _find(self, home: Home) -> Instance | None:
        if self._facts is None:
            raise ValueError("nothing was planned")
        seen = parse_databases(self._runner.run(DATABASES).stdout)
        facts = self._look(replace(self._facts, databases=seen))
        same = [each for each in facts.instances if each.application == home.application]
        exact = [each for each in same if each.name == home.name]
        return next(iter([*exact, *(each for each in same if home.data in each.places)]), None)

    def _look(self, facts: DeviceFacts) -> DeviceFacts:
        stored = self._request.stored
        return read_instances(
            self._runner, facts, {stored.application}, [(stored.application, stored.instance)]
        )

    def _check(self, instance: Instance) -> tuple[str, ...]:
        """A server that was just started may refuse the first questions. Raise CommandFailed when it goes on
        refusing one."""
        passed = []
        for check in self._plugin.checks(instance):
            for attempt in range(1, _MOST_ASKED + 1):
                self._control.raise_if_stopped()
                said = self._runner.run(check.command, timeout_s=600, check=False)
                if said.is_success:
                    break
                if attempt == _MOST_ASKED:
                    raise CommandFailed(f"{check.label}: {said.tail[-300:]}", detail=said.tail)
                time.sleep(_LOOK_EVERY_S)
            passed.append(check.label)
        return tuple(passed)

    def _failed(self, course: Course, swapper: Swapper, error: CommandFailed) -> AgentError:
        """The log is read before the old data goes back: it may lie in the new."""
        said = [error.detail]
        for command in (self._plugin.log(course.home, swapper.mark), *map(_journal, course.keeper.units)):
            if command is not None:
                said.append(tail_of(self._runner.run(command, timeout_s=30, check=False)))
        return ComebackFailed(
            f"{error.message}. What was there before is put back.",
            remedy="Read the end of its log below, and try another restore point.",
            detail="\n".join(filter(None, said)),
        )


def _keeper_of(plugin: Comeback, home: Home) -> Keeper | None:
    return keep_services(home.services) if home.services else plugin.keeper(home)


def _journal(unit: str) -> Command:
    script = 'command -v journalctl >/dev/null || exit 0; exec journalctl -q --no-pager -n 30 -u "$1"'
    return Command.of("/bin/sh", "-c", script, "hotfleet", unit)
