"""Two kinds of run that look at a device: its host keys, and what it can do."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.utils import timezone

from agents.events import Phase, Said, Tell
from agents.facts.device import DeviceFacts, to_json
from agents.flow import phase
from agents.probe import ProbeRequest, probe
from agents.ssh import HostKey, fetch_host_keys
from backupsite.engine import console_restic
from backupsite.fleet.devices import note_host_keys
from backupsite.fleet.models import Device, JumpHost
from backupsite.fleet.sessions import fetch_device_keys, jump_target_of, open_session
from backupsite.policies.found import write_found
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.states import State

Step = Callable[[list[int]], object]
_steps: list[Step] = []


class Scan:
    """Fetches the host keys of a device, and of a jump host before it. New ones wait for a person."""

    name = Run.SCAN
    queue: QueueName = "interactive"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        with phase(tell, Phase.CONNECT):
            jump_host = run.device.jump_host
            if jump_host is not None and not self._look_at(jump_host, tell, control):
                tell(Said("The device is asked through the jump host once its key is approved."))
                return Ended(State.SUCCEEDED)
            _note(run.device, fetch_device_keys(run.device), tell, control)
        return Ended(State.SUCCEEDED)

    def _look_at(self, jump_host: JumpHost, tell: Tell, control: Control) -> bool:
        """Fetch a jump host's keys. Return whether it shows an approved one: then the device can be asked."""
        target = jump_target_of(jump_host)
        found = fetch_host_keys(target)
        tell(Said(f"{target.subject} shows:"))
        _note(jump_host, found, tell, control)
        return not set(found).isdisjoint(target.host_keys)


def _note(owner: Device | JumpHost, found: list[HostKey], tell: Tell, control: Control) -> None:
    """Keep what was found, whatever becomes of the run."""
    for key in found:
        tell(Said(f"{key.key_type} {key.fingerprint}"))

    def write() -> None:
        note_host_keys(owner, found)

    control.in_transaction(write)


class Probe:
    """Checks a device from the way there to its databases; each finding is a tick on the page."""

    name = Run.PROBE
    queue: QueueName = "interactive"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        request = ProbeRequest(
            settings.CONSOLE_ID,
            run.id.hex,
            console_restic(),
            run.device.is_local,
            _name_jump_host(run.device),
        )
        facts = probe(request, lambda: open_session(run.device), tell=tell, control=control)
        control.in_transaction(lambda: keep_facts(run.device, facts))
        return Ended(State.SUCCEEDED)


def _name_jump_host(device: Device) -> str:
    return "" if device.jump_host is None else jump_target_of(device.jump_host).subject


def when_facts_change(step: Step) -> None:
    """Have this called with a device's id in the transaction that keeps new facts of it."""
    if step not in _steps:
        _steps.append(step)


def keep_facts(device: Device, facts: DeviceFacts) -> None:
    """Given the facts of a device, keep them as its newest, and tell whoever depends on what was found."""
    now = timezone.now()
    Device.objects.filter(pk=device.pk).update(
        facts=to_json(facts), found=write_found(facts), facts_at=now, reached_at=now
    )
    for step in _steps:
        step([device.pk])
