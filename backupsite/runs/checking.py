"""Two kinds of run that look at a device: its host keys, and what it can do."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.utils import timezone

from agents.events import Phase, Said, Tell
from agents.facts.device import to_json
from agents.flow import phase
from agents.probe import ProbeRequest, probe
from agents.ssh import HostKey, fetch_host_keys
from backupsite.engine import console_restic
from backupsite.fleet.devices import note_host_keys
from backupsite.fleet.models import Device
from backupsite.fleet.sessions import open_session, target_of
from backupsite.runs.kinds import Control, Ended, QueueName
from backupsite.runs.models import Run
from backupsite.runs.states import State


class Scan:
    """Fetches the host keys of a device without authenticating. New ones wait for a person."""

    name = Run.SCAN
    queue: QueueName = "interactive"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        with phase(tell, Phase.CONNECT):
            found = fetch_host_keys(target_of(run.device))
        for key in found:
            tell(Said(f"{key.key_type} {key.fingerprint}"))
        control.in_transaction(lambda: _note(run.device, found))
        return Ended(State.SUCCEEDED)


def _note(device: Device, found: Sequence[HostKey]) -> None:
    note_host_keys(device, list(found))


class Probe:
    """Checks a device from the way there to its databases; each finding is a tick on the page."""

    name = Run.PROBE
    queue: QueueName = "interactive"
    may_retry = False

    def work(self, run: Run, tell: Tell, control: Control) -> Ended:
        request = ProbeRequest(settings.CONSOLE_ID, run.id.hex, console_restic(), run.device.is_local)
        facts = probe(request, lambda: open_session(run.device), tell=tell, control=control)
        control.in_transaction(lambda: keep_facts(run.device, to_json(facts)))
        return Ended(State.SUCCEEDED)


def keep_facts(device: Device, facts: str) -> None:
    """Given the facts of a device as text, keep them as its newest."""
    now = timezone.now()
    Device.objects.filter(pk=device.pk).update(facts=facts, facts_at=now, reached_at=now)
