"""The run that restores files onto a device, the safety restore point before it, and its undo."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from functools import partial

from django.conf import settings
from django.db import transaction

from agents.backup import BackupRequest
from agents.browse import list_folder
from agents.errors import Cancelled, PlanRefused
from agents.events import Said, Tell
from agents.restic.trees import Node
from agents.restore import Mode, RestoreOutcome, restore
from agents.restoring.safety import save_first
from backupsite.engine import console_restic
from backupsite.fleet.sessions import open_session
from backupsite.policies.known import read_known_facts
from backupsite.policies.models import Policy
from backupsite.recovery.asking import Note, ask_once, no_note
from backupsite.recovery.backups import IMPACTS, count_files, keep_points
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.origins import find_origin
from backupsite.recovery.places import make_place, place_of
from backupsite.recovery.undoing import find_subvolumes, open_up, say_stays
from backupsite.recovery.wishes import Wish, make_undo, read_wish
from backupsite.repositories.nodes import find_node_of
from backupsite.runs.kinds import Control, Ended, HandOver, QueueName
from backupsite.runs.models import Run, RunLine
from backupsite.runs.states import State

# A line of the log by which its page knows that there is nothing to undo.
NOTHING_REPLACED = "The restore was cancelled before it replaced anything: there is nothing to undo."


def ask_restore(wish: Wish, *, has_safety: bool, token: str, requested_by: str, note: Note = no_note) -> Run:
    """Ask for a restore as `ask_once` does; `has_safety`: what it replaces is backed up first, and that is
    the work of the node of the device that it replaces."""
    request = {**wish.to_json(), "safety": has_safety}
    beside = None if has_safety else wish.beside
    return ask_once(
        Run.RESTORE, wish.device, request, token=token, requested_by=requested_by, note=note, beside=beside
    )


def ask_undo(undone: Run, *, token: str, requested_by: str, note: Note = no_note) -> Run:
    """Ask for the undo of a restore as `ask_once` does. What it replaces is backed up first too."""
    request = {"undo": str(undone.pk), "number": undone.number, "safety": True}
    return ask_once(Run.RESTORE, undone.device, request, token=token, requested_by=requested_by, note=note)


def list_safety_points(run: Run) -> list[RestorePoint]:
    """Given a run that restored, return what it saved before and what still is there. Runs one query."""
    found = RestorePoint.objects.filter(run=run, device=run.device, run__kind=Run.RESTORE)
    return list(found.select_related("repository", "repository__storage", "device"))


def may_undo(run: Run) -> bool:
    """Given a restore, return whether it is over, saved something that still is there, and may have replaced
    something. Runs at most two queries."""
    if not State(run.state).is_final or not list_safety_points(run):
        return False
    if run.state == State.CANCELLED and run.beside_id is not None and not run.worker:
        return False  # it waited for another node, which had not begun
    said = run.lines.filter(kind=RunLine.LINE, text=NOTHING_REPLACED)
    return not (run.state == State.CANCELLED and said.exists())


class Restore:
    """Restores what was picked, or undoes a restore, in one run: between its safety restore point and the
    restore no other run works on the device."""

    name = Run.RESTORE
    queue: QueueName = "interactive"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        is_undo = "undo" in run.request
        wishes = _read_undo(run, tell) if is_undo else [read_wish(run)]
        if run.request["safety"] and "saved" not in run.request:
            _save(run, [place for wish in wishes for place in wish.places], tell, control)
            _hand_over(run, wishes, tell)
        are_complete: list[bool] = []
        for wish in _open_up(wishes) if is_undo else wishes:
            try:
                are_complete.append(_restore(run, wish, tell, control).is_complete)
            except Cancelled:
                # A flow asks for a cancel before its swap only. What is removed first may be gone by then.
                if not are_complete and wish.mode is not Mode.DIRECT:
                    tell(Said(NOTHING_REPLACED))
                raise
        return Ended(State.SUCCEEDED if all(are_complete) else State.WARNINGS)


def _hand_over(run: Run, wishes: Sequence[Wish], tell: Tell) -> None:
    """After the safety restore point, leave the restore to the node on which its restore point lies. Between
    both the device is free: what another run does there then is not in the safety restore point."""
    for wish in wishes:
        if wish.beside is not None and (node := find_node_of(wish.beside)) != settings.HOTFLEET_NODE:
            tell(Said(f"The restore point lies on the node {node}, which goes on."))
            raise HandOver(wish.beside, {**run.request, "saved": True})


def _restore(run: Run, wish: Wish, tell: Tell, control: Control) -> RestoreOutcome:
    origin = wish.find_origin()
    if origin.is_copy:
        tell(Said(origin.sentence))
    return restore(wish.to_request(run, origin), lambda: open_session(run.device), tell=tell, control=control)


def _read_undo(run: Run, tell: Tell) -> list[Wish]:
    undone = Run.objects.filter(pk=uuid.UUID(run.request["undo"]), device=run.device).first()
    points = list_safety_points(undone) if undone is not None else []
    if not points:
        raise PlanRefused(
            "The safety restore point is gone.", remedy="Restore from another restore point of the device."
        )
    facts = read_known_facts(run.device)
    wishes = [make_undo(point, facts.mounts if facts is not None else ()) for point in points]
    for wish in wishes:
        if why := say_stays(wish, facts):
            tell(Said(f"{wish.folder}: {why}"))
    return wishes


def _open_up(wishes: Sequence[Wish]) -> list[Wish]:
    """Given undos of whole folders, return them with the things in a folder where it cannot be exchanged."""
    opened = []
    for wish in wishes:
        facts = read_known_facts(wish.device) if wish.mode is Mode.EXACT else None
        subvolumes = find_subvolumes(wish.folder, facts) if facts is not None else []
        if not subvolumes:
            opened.append(wish)
        elif (each := open_up(wish, subvolumes, partial(_list_folder, wish.point))).names:
            opened.append(each)
    return opened


def _list_folder(point: RestorePoint, folder: str) -> list[Node]:
    origin = find_origin([point])
    return list_folder(place_of(origin.repository), console_restic(), origin.name_of(point.restic_id), folder)


def _save(run: Run, places: Sequence[str], tell: Tell, control: Control) -> None:
    """Make the safety restore points and write them into the catalogue at once: they are needed most when
    this worker dies in the restore. Raise an AgentError when that is not possible."""
    repository, place = make_place(run.device, tell)
    request = BackupRequest(
        console_id=settings.CONSOLE_ID,
        run_id=run.id.hex,
        device_name=run.device.slug,
        sources=(),
        place=place,
        binary=console_restic(),
        is_local=run.device.is_local,
        expected_files=count_files(run.device),
        limits=IMPACTS[Policy.BALANCED],
    )
    outcome = save_first(request, places, lambda: open_session(run.device), tell=tell, control=control)
    control.raise_if_stopped()
    if outcome is not None:
        with transaction.atomic():
            keep_points(run, repository, outcome)
        tell(Said("The safety restore point is stored and read back. The restore begins."))
