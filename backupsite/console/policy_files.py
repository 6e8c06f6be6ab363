"""A policy file on its way into the database: what is there, what it would change, and storing it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from backupsite.console.policy_refusals import OwnMachine, find_own_machine
from backupsite.fleet.devices import Actor
from backupsite.fleet.imports.checking import LONGEST_TAG
from backupsite.fleet.models import Device, Tag
from backupsite.fleet.names import clean_name
from backupsite.policies.document import PolicyState, make_plain
from backupsite.policies.document_changes import Change, compare
from backupsite.policies.document_reading import Known, Reading, read_policies
from backupsite.policies.document_rows import Stored, read_stored, store_states
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.policies.selecting import find_tagged
from backupsite.recovery.stored import lock, restate
from backupsite.repositories.models import Storage


@dataclass(frozen=True)
class There:
    """What a file is compared with: policies by their names in small letters, the keys of devices by name,
    tags by their names in small letters, and storages."""

    stored: Mapping[str, Stored]
    devices: Mapping[str, int]
    tags: Mapping[str, str]
    storages: frozenset[str]


def read_there() -> There:
    """Return what is there now. Runs nine queries."""
    return There(
        {each.state.name.lower(): each for each in read_stored(Policy.objects.all())},
        dict(Device.objects.values_list("name", "pk")),
        {name.lower(): name for name in Tag.objects.values_list("name", flat=True)},
        frozenset(Storage.objects.values_list("name", flat=True)),
    )


@dataclass(frozen=True)
class Comparison:
    """A file against what is there. `changes` counts only when the reading has no problems."""

    reading: Reading
    there: There
    changes: tuple[Change, ...]

    @property
    def is_right(self) -> bool:
        return not self.reading.problems

    @property
    def wanted(self) -> list[Change]:
        """The policies that would be made or changed."""
        return [change for change in self.changes if change.is_change]

    @property
    def same_count(self) -> int:
        return len(self.changes) - len(self.wanted)

    @property
    def digest(self) -> str:
        """What stands on the page, so that nothing else is done when the button is pressed."""
        return repr(self.changes)


def compare_file(data: bytes) -> Comparison:
    """Given a file, return what it says and what it would change. Runs a dozen queries, and one for each
    policy that changes. Takes seconds for a large one: not in a transaction."""
    there, machine = read_there(), find_own_machine()
    selection = Selection(there.devices)
    known = Known(
        lambda name: there.stored[name].state if name in there.stored else None,
        there.devices.keys(),
        lambda tag: _find_tag(tag, there.tags),
        timezone.now(),
        there.storages,
        lambda state: _find_repositories(state, machine, selection),
        selection.find_others,
    )
    reading = read_policies(data, known)
    if reading.problems:
        return Comparison(reading, there, ())
    changes = tuple(
        _compare(there.stored.get(state.name.lower()), state, selection) for state in reading.states
    )
    return Comparison(reading, there, changes)


def _find_tag(text: str, known: Mapping[str, str]) -> str:
    """Return the tag as it is called already, whatever its capitals are. Raise ValueError when it is none."""
    name = clean_name(text, longest=LONGEST_TAG)
    return known.get(name.lower(), name)


def _find_repositories(state: PolicyState, machine: OwnMachine | None, selection: Selection) -> list[str]:
    """Return why sources cannot be taken on the console's own machine, if it is one of the devices."""
    if machine is None:
        return []
    found = [said for each in state.sources if (said := machine.find_problem(each))]
    return found if found and machine.device.pk in selection.of(state) else []


def _compare(present: Stored | None, state: PolicyState, selection: Selection) -> Change:
    before = present.state if present is not None else None
    if before is not None and make_plain(before) == make_plain(state):
        return Change(state.name, False, (), 0)
    return compare(before, state, len(selection.of(state)))


class Selection:
    """The devices of policies of a file, given the keys of all devices by name. Hundreds of policies have the
    same few tags: each combination is looked for once."""

    def __init__(self, devices: Mapping[str, int]) -> None:
        self._devices = devices
        self._tagged: dict[tuple[frozenset[str], bool], frozenset[int]] = {}

    def of(self, state: PolicyState) -> frozenset[int]:
        """Return the devices of a policy: by name, and by its tags. Runs a query for tags it has not met."""
        key = frozenset(state.tags), bool(state.fields["needs_all_tags"])
        if key not in self._tagged:
            found = find_tagged(key[0], needs_all=key[1], key="name")
            self._tagged[key] = frozenset(found.values_list("pk", flat=True))
        named = [self._devices[name] for name in state.devices if name in self._devices]
        return self._tagged[key].union(named) if named else self._tagged[key]

    def find_others(self, state: PolicyState, names: Collection[str]) -> list[str]:
        """Return those of some devices that a policy has not."""
        mine = self.of(state) if names else frozenset()
        return [name for name in names if self._devices.get(name) not in mine]


def apply_comparison(actor: Actor, comparison: Comparison, now: datetime) -> list[Policy]:
    """Store what differs and say anew how the devices stand that are concerned. All of it or nothing. Raise
    Outdated when what the file was compared with is not there any more as it was."""
    names = {change.name for change in comparison.wanted}
    states = [state for state in comparison.reading.states if state.name in names]
    with transaction.atomic():
        stored = read_there()
        if stored != comparison.there:
            raise Outdated
        meant = (each.policy.pk for each in stored.stored.values() if _is_meant(each, names))
        before = _devices_of(meant)
        lock(before)
        saved = store_states(actor, states, stored.stored, now)
        restate(sorted({*before, *_devices_of(policy.pk for policy in saved)}))
    return saved


class Outdated(Exception):
    """Somebody changed what a file was compared with."""


def _is_meant(stored: Stored, names: Iterable[str]) -> bool:
    return stored.state.name.lower() in {name.lower() for name in names}


def _devices_of(policies: Iterable[int]) -> list[int]:
    rows = PolicyDevice.objects.filter(policy__in=list(policies))
    return sorted(set(rows.values_list("device_id", flat=True)))
