"""Host keys on the connection page: those of the device, and of a jump host before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet

from agents.ssh import Target
from agents.ssh.keys import SIGNATURES
from agents.ssh.target import JumpHost as JumpTarget
from backupsite.fleet.models import Device, HostKey
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE
from backupsite.runs.states import State

# The file in which sshd keeps each type of key on the device.
KEY_FILES = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}


@dataclass(frozen=True)
class WaitingKey:
    """A key that a person must compare, with the approved one of its type that it would replace."""

    key: HostKey
    replaces: HostKey | None
    command: str
    is_first: bool
    machine: str

    @property
    def code_id(self) -> str:
        return f"fingerprint-{self.key.pk}"

    @property
    def where(self) -> str:
        return f"On the {self.machine}"


@dataclass(frozen=True)
class Hop:
    """One machine on the way, and what became of its host keys. `machine` is "device" or "jump host"."""

    machine: str
    place: str
    approved: list[HostKey]
    waiting: list[WaitingKey]
    waits_for_jump_host: bool = False

    @property
    def has_changed(self) -> bool:
        return any(item.replaces is not None for item in self.waiting)


def keys_on_the_way(device: Device) -> QuerySet[HostKey]:
    """Given a device, return the host keys of it and of its jump host."""
    wanted = Q(device=device)
    if device.jump_host_id is not None:
        wanted |= Q(jump_host=device.jump_host_id)
    return HostKey.objects.filter(wanted)


def scan_context(device: Device) -> dict[str, Any]:
    """Return the newest scan and what became of the host keys. Runs two queries."""
    scan = Run.objects.filter(device=device, kind=Run.SCAN).first()
    hops = _list_hops(device)
    return {
        "device": device,
        "scan": scan,
        "is_scanning": scan is not None and scan.state in ACTIVE,
        "scan_failed": scan is not None and State(scan.state).is_final and not State(scan.state).is_good,
        "scan_text": " ".join(filter(None, (scan.error_text, scan.error_remedy))) if scan is not None else "",
        "hops": hops,
        "approved": all(hop.approved for hop in hops),
        "has_found": any(hop.approved or hop.waiting for hop in hops),
        "key_topic": f"device:{device.uuid}",
    }


def _list_hops(device: Device) -> list[Hop]:
    keys, jump = list(keys_on_the_way(device)), device.jump_host
    place = Target(device.address, device.port, device.user).endpoint
    own = [key for key in keys if key.device_id is not None]
    if jump is None:
        return [_make_hop("device", place, own)]
    way = JumpTarget(jump.address, jump.port, jump.user).endpoint
    first = _make_hop("jump host", way, [key for key in keys if key.device_id is None])
    return [first, _make_hop("device", place, own, waits_for_jump_host=not first.approved)]


def _make_hop(machine: str, place: str, keys: list[HostKey], *, waits_for_jump_host: bool = False) -> Hop:
    approved = [key for key in keys if key.state == HostKey.APPROVED]
    pending = [key for key in keys if key.state == HostKey.PENDING]
    waiting = [
        WaitingKey(key, _same_type(approved, key), _fingerprint_command(key), number == 0, machine)
        for number, key in enumerate(sorted(pending, key=_by_strength))
    ]
    return Hop(machine, place, approved, waiting, waits_for_jump_host)


def _by_strength(key: HostKey) -> int:
    # The type that the console prefers comes first: mostly one comparison is all that it takes.
    return list(SIGNATURES).index(key.key_type) if key.key_type in SIGNATURES else len(SIGNATURES)


def _same_type(approved: list[HostKey], key: HostKey) -> HostKey | None:
    return next((other for other in approved if other.key_type == key.key_type), None)


def _fingerprint_command(key: HostKey) -> str:
    name = KEY_FILES.get(key.key_type, "ecdsa")
    return f"ssh-keygen -lf /etc/ssh/ssh_host_{name}_key.pub"
