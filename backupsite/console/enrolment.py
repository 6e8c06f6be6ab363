"""The way of a new device into the fleet: a line to paste, a fingerprint to compare, ticks."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from agents.ssh import authorized_keys_line, sudoers_line
from agents.ssh.keys import SIGNATURES
from backupsite.accounts import audit
from backupsite.console.ticks import Tick, make_ticks
from backupsite.fleet.devices import actor_of, approve_host_key, refuse_host_key
from backupsite.fleet.models import Device, HostKey
from backupsite.runs.models import Run
from backupsite.runs.requests import ACTIVE, request_run
from backupsite.runs.states import State
from backupsite.web.visible import make_visible

# The file in which sshd keeps each type of key on the device.
KEY_FILES = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}


@dataclass(frozen=True)
class WaitingKey:
    """A key that a person must compare, with the approved one of its type that it would replace."""

    key: HostKey
    replaces: HostKey | None
    command: str
    is_first: bool

    @property
    def code_id(self) -> str:
        return f"fingerprint-{self.key.pk}"


@require_safe
def device_connect(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device.objects.select_related("ssh_key"), slug=slug)
    part = request.GET.get("part")
    if part == "ticks":
        return render(request, "console/connect_ticks.html", ticks_context(device))
    if part == "scan":
        return render(request, "console/connect_scan.html", scan_context(device))
    context = {"device": device, "crumbs": _crumbs(device), **ticks_context(device)}
    if not device.is_local:
        context |= {**scan_context(device), **key_context(device)}
    return render(request, "console/device_connect.html", context)


@require_POST
def device_scan(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug, reach=Device.SSH)
    request_run(Run.SCAN, device, request={}, requested_by=request.user.get_username())
    audit.record(request, "device.scan", device.name)
    return redirect("device-connect", slug)


@require_POST
def device_check(request: HttpRequest, slug: str) -> HttpResponse:
    device = get_object_or_404(Device, slug=slug)
    request_run(Run.PROBE, device, request={}, requested_by=request.user.get_username())
    audit.record(request, "device.check", device.name)
    return redirect("device-connect", slug)


@require_POST
def device_hostkey(request: HttpRequest, slug: str) -> HttpResponse:
    """Approve or refuse the key that was shown. Approving starts the first check by itself."""
    device = get_object_or_404(Device, slug=slug, reach=Device.SSH)
    # "approve:12": the buttons lie in a live region and the form outside of it, so one field says both.
    decision, _, key_id = request.POST.get("decision", "").partition(":")
    decide = {"approve": approve_host_key, "refuse": refuse_host_key}.get(decision)
    if decide is None:
        return HttpResponseBadRequest("decision must be approve or refuse")
    key = get_object_or_404(HostKey, device=device, pk=_read_id(key_id))
    if not decide(actor_of(request), key):
        messages.warning(request, "Somebody decided about this key already. Look at it as it is now.")
    elif decision == "approve":
        request_run(Run.PROBE, device, request={}, requested_by=request.user.get_username())
    return redirect("device-connect", slug)


def _read_id(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def key_context(device: Device) -> dict[str, Any]:
    """Return what must be pasted on a device that is reached over SSH."""
    if device.ssh_key is None:
        raise LookupError(f"{device} is reached over SSH and has no key of the console.")
    line = authorized_keys_line(device.ssh_key.public_line)
    needs_sudo = device.user != "root"
    return {
        "paste": make_paste_command(line),
        "needs_sudo": needs_sudo,
        "sudoers": make_sudoers_command(device.user) if needs_sudo else "",
    }


def make_paste_command(line: str) -> str:
    """Given a line for authorized_keys, return the command that adds it once. Pure."""
    quoted = shlex.quote(line)
    file = "~/.ssh/authorized_keys"
    # In a subshell: the umask of whoever pastes it stays. A file may lack its last line's end.
    return (
        f"(umask 077; mkdir -p ~/.ssh && touch {file} && "
        f"{{ grep -qxF {quoted} {file} || printf '\\n%s\\n' {quoted} >> {file}; }})"
    )


def make_sudoers_command(user: str) -> str:
    """Given a user, return the command for root that installs the sudo rule after checking it. Pure."""
    rule = shlex.quote(sudoers_line(user))
    # A broken file in sudoers.d takes sudo away from everybody: checked elsewhere first.
    return (
        f"printf '%s\\n' {rule} > /root/hotfleet.sudoers && visudo -cf /root/hotfleet.sudoers && "
        "install -m 0440 /root/hotfleet.sudoers /etc/sudoers.d/hotfleet; rm -f /root/hotfleet.sudoers"
    )


def scan_context(device: Device) -> dict[str, Any]:
    """Return the newest scan and what became of the host keys. Runs two queries."""
    scan = Run.objects.filter(device=device, kind=Run.SCAN).first()
    keys = list(device.host_keys.all())
    approved = [key for key in keys if key.state == HostKey.APPROVED]
    pending = [key for key in keys if key.state == HostKey.PENDING]
    waiting = [
        WaitingKey(key, _same_type(approved, key), _fingerprint_command(key), is_first=number == 0)
        for number, key in enumerate(sorted(pending, key=_by_strength))
    ]
    return {
        "device": device,
        "scan": scan,
        "is_scanning": scan is not None and scan.state in ACTIVE,
        "scan_failed": scan is not None and State(scan.state).is_final and not State(scan.state).is_good,
        "scan_text": " ".join(filter(None, (scan.error_text, scan.error_remedy))) if scan is not None else "",
        "approved": approved,
        "waiting": waiting,
        "has_changed": any(item.replaces is not None for item in waiting),
        "is_open": not approved or any(item.replaces is not None for item in waiting),
        "key_topic": f"device:{device.uuid}",
    }


def _by_strength(key: HostKey) -> int:
    # The type that the console prefers comes first: mostly one comparison is all that it takes.
    return list(SIGNATURES).index(key.key_type) if key.key_type in SIGNATURES else len(SIGNATURES)


def _same_type(approved: list[HostKey], key: HostKey) -> HostKey | None:
    return next((other for other in approved if other.key_type == key.key_type), None)


def _fingerprint_command(key: HostKey) -> str:
    name = KEY_FILES.get(key.key_type, "ecdsa")
    return f"ssh-keygen -lf /etc/ssh/ssh_host_{name}_key.pub"


def ticks_context(device: Device) -> dict[str, Any]:
    """Return the newest check of a device and its ticks. Runs two queries."""
    probe = Run.objects.filter(device=device, kind=Run.PROBE).prefetch_related("checks").first()
    ticks: list[Tick] = make_ticks(probe)
    is_checking = probe is not None and probe.state in ACTIVE
    return {
        "device": device,
        "probe": probe,
        "ticks": ticks,
        "is_checking": is_checking,
        "bad_count": sum(tick.status.tone == "bad" for tick in ticks),
        "probe_failed": probe is not None and not is_checking and not State(probe.state).is_good,
        "topic": f"device:{device.uuid}",
        "is_ready": probe is not None and State(probe.state).is_good,
    }


def _crumbs(device: Device) -> list[tuple[str, str]]:
    return [
        ("Devices", reverse("devices")),
        (make_visible(device.name), device.get_absolute_url()),
        ("Connect", ""),
    ]
