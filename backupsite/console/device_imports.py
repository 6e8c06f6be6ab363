"""A file of devices on its way into the fleet: what becomes of each, devices, host keys, first checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from agents.ssh.keys import HostKey as KnownKey
from backupsite.accounts import audit
from backupsite.fleet.devices import Actor, approve_host_key, create_device, note_host_keys
from backupsite.fleet.imports.ansible import parse_ansible
from backupsite.fleet.imports.checking import NEW, PRESENT, REFUSED, Candidate, Present, check_rows
from backupsite.fleet.imports.csv_list import parse_csv
from backupsite.fleet.imports.known_hosts import parse_known_hosts
from backupsite.fleet.imports.rows import Note, Parsed, fail
from backupsite.fleet.imports.ssh_config import parse_ssh_config
from backupsite.fleet.models import Device, HostKey, JumpHost
from backupsite.fleet.tags import set_tags
from backupsite.policies.selecting import refresh_devices
from backupsite.recovery.stored import restate
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.web.yaml_tree import Unreadable, read_text

PARSERS: dict[str, Callable[[str], Parsed]] = {
    "ansible": parse_ansible,
    "ssh_config": parse_ssh_config,
    "csv": parse_csv,
}
# A page of first checks, not a fleet of them at one moment; the others are started by hand.
MOST_STARTED = 50


@dataclass(frozen=True)
class DevicePlan:
    """What a file would do. `errors` say why it cannot be used at all; `notes` what was passed over in it,
    `key_notes` in the lines of known_hosts; `present` are the devices that it was compared with."""

    candidates: tuple[Candidate, ...]
    errors: tuple[Note, ...]
    notes: tuple[Note, ...]
    key_notes: tuple[Note, ...]
    present: tuple[Present, ...] = ()

    @property
    def new(self) -> list[Candidate]:
        return [each for each in self.candidates if each.fate == NEW]

    @property
    def refused(self) -> list[Candidate]:
        return [each for each in self.candidates if each.fate == REFUSED]

    @property
    def present_count(self) -> int:
        return sum(each.fate == PRESENT for each in self.candidates)

    @property
    def known_count(self) -> int:
        return sum(each.is_known for each in self.new)


def plan_import(kind: str, data: bytes, known_hosts: str) -> DevicePlan:
    """Given a file of a kind of PARSERS, and lines of known_hosts, return what becomes of each device. Runs
    one query. Takes seconds for many hashed names: not in a transaction."""
    try:
        parsed = PARSERS[kind](read_text(data))
    except Unreadable as error:
        parsed = fail(error.problem.line, error.problem.sentence)
    known, present = parse_known_hosts(known_hosts), _list_present()
    errors = [note for note in parsed.notes if note.is_error]
    candidates: Sequence[Candidate] = ()
    if not errors:
        try:
            candidates = check_rows(parsed.rows, present, known)
        except ValueError as error:
            errors = [Note(1, str(error), is_error=True)]
    if not errors and not candidates:
        errors = [Note(1, "There is no device in this file.", is_error=True)]
    notes = tuple(note for note in parsed.notes if not note.is_error)
    return DevicePlan(tuple(candidates), tuple(errors), notes, tuple(sorted(known.notes)), tuple(present))


def _list_present() -> list[Present]:
    rows = Device.objects.select_related("jump_host").only("name", "address", "port", "jump_host")
    return [Present(each.name, each.address, each.port, _place_of(each.jump_host)) for each in rows]


def _place_of(jump: JumpHost | None) -> tuple[str, int] | None:
    return (jump.address, jump.port) if jump is not None else None


class Outdated(Exception):
    """Somebody changed devices after a plan was made."""


@transaction.atomic
def import_devices(actor: Actor, plan: DevicePlan) -> list[Device]:
    """Create the new devices of a plan with their tags; approve the host keys that known_hosts had: the
    person vouches for them. Start the first checks of some. Raise Outdated when
    other devices are there than those that the plan was made with."""
    if tuple(_list_present()) != plan.present:
        raise Outdated
    made = [(_create(actor, each), each) for each in plan.new]
    restate(refresh_devices(timezone.now()))
    detail = {"devices": len(made), "keys_known": plan.known_count, "refused": len(plan.refused)}
    audit.record(actor.name, "device.import", f"{len(made)} devices", detail, address=actor.address)
    for device, candidate in made[:MOST_STARTED]:
        kind = Run.PROBE if candidate.is_known else Run.SCAN
        request_run(kind, device, request={}, requested_by=actor.name)
    return [device for device, _ in made]


def _create(actor: Actor, candidate: Candidate) -> Device:
    if candidate.reach is None:
        raise ValueError(f"line {candidate.line} is no device that could be created")
    device = create_device(actor, candidate.name, candidate.reach)
    set_tags(actor, device, candidate.tags)
    _trust(actor, device, candidate.keys)
    jump = device.jump_host
    # Keys that somebody compared already are not replaced by a file.
    if jump is not None and not jump.host_keys.filter(state=HostKey.APPROVED).exists():
        _trust(actor, jump, candidate.jump_keys)
    return device


def _trust(actor: Actor, owner: Device | JumpHost, keys: Sequence[KnownKey]) -> None:
    # One of each type: approving a second one would retire the first.
    first = {key.key_type: key for key in reversed(keys)}
    note_host_keys(owner, list(first.values()))
    known = [key.fingerprint for key in first.values()]
    for key in owner.host_keys.filter(fingerprint__in=known, state=HostKey.PENDING):
        approve_host_key(actor, key)
