"""A policy file on its way into the database: what is there, what it would change, and storing it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from backupsite.console.policy_refusals import OwnMachine, find_own_machine
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device
from backupsite.fleet.names import clean_name
from backupsite.policies.document import PolicyState, make_plain
from backupsite.policies.document_changes import Change, compare
from backupsite.policies.document_reading import Known, Reading, read_policies
from backupsite.policies.document_rows import Stored, read_stored, store_states
from backupsite.policies.models import Policy, PolicyDevice
from backupsite.recovery.stored import lock, restate
from backupsite.repositories.models import Storage

LONGEST_TAG = 40


@dataclass(frozen=True)
class Comparison:
    """A file against what is there now. `changes` counts only when the reading has no problems."""

    reading: Reading
    stored: dict[str, Stored]
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
    policy that changes."""
    stored = {each.state.name.lower(): each for each in read_stored(Policy.objects.all())}
    devices = dict(Device.objects.values_list("name", "pk"))
    machine = find_own_machine()
    known = Known(
        lambda name: stored[name].state if name in stored else None,
        devices.keys(),
        lambda tag: clean_name(tag, longest=LONGEST_TAG),
        timezone.now(),
        frozenset(Storage.objects.values_list("name", flat=True)),
        lambda state: _find_repositories(state, machine, devices),
    )
    reading = read_policies(data, known)
    if reading.problems:
        return Comparison(reading, stored, ())
    changes = tuple(_compare(stored.get(state.name.lower()), state, devices) for state in reading.states)
    return Comparison(reading, stored, changes)


def _find_repositories(
    state: PolicyState, machine: OwnMachine | None, devices: Mapping[str, int]
) -> list[str]:
    """Return why sources cannot be taken on the console's own machine, if it is one of the devices."""
    if machine is None:
        return []
    found = [said for each in state.sources if (said := machine.find_problem(each))]
    return found if found and machine.device.pk in select_devices(state, devices) else []


def _compare(present: Stored | None, state: PolicyState, devices: Mapping[str, int]) -> Change:
    before = present.state if present is not None else None
    if before is not None and make_plain(before) == make_plain(state):
        return Change(state.name, False, (), 0)
    return compare(before, state, len(select_devices(state, devices)))


def select_devices(state: PolicyState, devices: Mapping[str, int]) -> set[int]:
    """Given a policy and the keys of all devices by name, return those of its own: by name, and by its tags.
    Runs a query when it has tags."""
    named = {devices[name] for name in state.devices if name in devices}
    if not state.tags:
        return named
    tagged = Device.objects.filter(retired_at=None)
    if state.fields["needs_all_tags"]:
        for tag in state.tags:
            tagged = tagged.filter(tags__name=tag)
    else:
        tagged = tagged.filter(tags__name__in=state.tags)
    return named | set(tagged.values_list("pk", flat=True))


def apply_comparison(actor: Actor, comparison: Comparison, now: datetime) -> list[Policy]:
    """Store what differs and say anew how the devices stand that are concerned. All of it or nothing."""
    names = {change.name for change in comparison.wanted}
    states = [state for state in comparison.reading.states if state.name in names]
    with transaction.atomic():
        before = _devices_of(each.policy.pk for each in comparison.stored.values() if _is_meant(each, names))
        lock(before)
        saved = store_states(actor, states, comparison.stored, now)
        restate(sorted({*before, *_devices_of(policy.pk for policy in saved)}))
    return saved


def _is_meant(stored: Stored, names: Iterable[str]) -> bool:
    return stored.state.name.lower() in {name.lower() for name in names}


def _devices_of(policies: Iterable[int]) -> list[int]:
    rows = PolicyDevice.objects.filter(policy__in=list(policies))
    return sorted(set(rows.values_list("device_id", flat=True)))
