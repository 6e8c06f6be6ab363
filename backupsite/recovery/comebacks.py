"""The run that brings an application back: in place, beside what runs, or one database of a dump."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from agents.applications.comebacks import Home, find_home
from agents.applications.stored import Stored
from agents.comeback import Choice, ComebackOutcome, ComebackRequest, Way, choices, comeback
from agents.errors import PlanRefused
from agents.events import Said, Tell
from backupsite.engine import console_restic
from backupsite.fleet.sessions import open_session
from backupsite.policies.known import read_known_facts
from backupsite.recovery.asking import Note, ask_once, no_note
from backupsite.recovery.drills import list_set, points_of, stored_of
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.origins import BEST, find_origin
from backupsite.recovery.places import place_of
from backupsite.recovery.seen import read_instance, read_seen
from backupsite.recovery.wal.replays import keep_tail, read_replay
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.states import State


@dataclass(frozen=True)
class Options:
    """What is known before anything is asked for: where the application belongs, and each way back."""

    stored: Stored
    home: Home
    choices: tuple[Choice, ...]

    @property
    def offered(self) -> list[Choice]:
        """What a person may choose: what is possible, and what only lacks the name of a service."""
        return [each for each in self.choices if each.is_possible or each.needs_service]

    def choice(self, way: str) -> Choice | None:
        return next((each for each in self.offered if each.way == way), None)


def find_options(point: RestorePoint, services: Sequence[str] = ()) -> Options:
    """Given a restore point of an application and the services that a person named, return what is possible.
    Runs three queries. Raise PlanRefused when it does not come back by itself."""
    points = list_set(point)
    facts = read_known_facts(point.device)
    if facts is None:
        raise PlanRefused("Nothing is known about the device.", remedy="Check the device first.")
    stored = make_stored(points)
    known = read_instance(points, facts)
    found = choices(stored, facts, known, tuple(services))
    return Options(stored, find_home(stored, facts, known, tuple(services)), found)


def make_stored(points: Sequence[RestorePoint]) -> Stored:
    """Given the restore points of one source and one backup, return them with the places where they were, or
    with the databases that one dump holds. Runs one query."""
    stored = stored_of(points)
    if stored.is_files:
        return replace(stored, paths=stored.parts[0].paths)
    seen = read_seen(points)
    names = seen.detail("databases").split("\n") if seen is not None else []
    return replace(stored, databases=tuple(name for name in names if name))


def ask_comeback(
    point: RestorePoint, wish: dict[str, Any], *, token: str, requested_by: str, note: Note = no_note
) -> Run:
    """Ask for a comeback as `ask_once` does. `wish` is `way`, `services`, `keep`, `folder`, `port`, `part`,
    `new_name`, `table`, and maybe `moment` (`wal.replays`)."""
    ids = sorted(str(each.pk) for each in list_set(point))
    request = {"points": ids, "source": point.source, **wish}
    return ask_once(Run.COMEBACK, point.device, request, token=token, requested_by=requested_by, note=note)


class ComeBack:
    """Brings an application back on its device."""

    name = Run.COMEBACK
    queue: QueueName = "interactive"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        outcome = comeback(make_request(run), lambda: open_session(run.device), tell=tell, control=control)
        control.in_transaction(lambda: keep_tail(run, points_of(run), outcome))
        for sentence in say_outcome(outcome):
            tell(Said(sentence))
        return Ended(State.SUCCEEDED)


def make_request(run: Run) -> ComebackRequest:
    """Given a run, return what the flow is asked for. Raise PlanRefused when a restore point is gone."""
    points, said = points_of(run), run.request
    stored, origin = make_stored(points), find_origin(points, said.get("from", BEST))
    if origin.is_copy and said.get("moment"):
        raise PlanRefused(
            f"The log of PostgreSQL is in the first repository alone. {origin.why}".strip(),
            remedy="Let the application come back as one of its restore points is.",
        )
    return ComebackRequest(
        console_id=settings.CONSOLE_ID,
        run_id=run.id.hex,
        place=place_of(origin.repository),
        binary=console_restic(),
        is_local=run.device.is_local,
        stored=origin.of(stored),
        way=Way(said["way"]),
        known=read_instance(points, read_known_facts(run.device)),
        services=tuple(said["services"]),
        keep_ending=f"before-run-{run.number}" if said["keep"] else "",
        folder=said["folder"],
        port=int(said["port"]),
        part=said["part"],
        new_name=said["new_name"],
        table=said["table"],
        replay=read_replay(run, points),
    )


def say_outcome(outcome: ComebackOutcome) -> list[str]:
    """Given what came out, return the sentences that a person needs afterwards."""
    sentences = []
    if outcome.down_s:
        sentences.append(
            f"It stood still for {outcome.down_s:.1f} s and answered after {outcome.answered_s:.1f} s."
        )
    if outcome.kept:
        sentences.append(f"What was there before is kept in {', '.join(outcome.kept)}: remove it by hand.")
    if outcome.stop_line:
        sentences.append(f"To end and remove what runs beside: {outcome.stop_line}")
    return sentences
