"""What is done to devices: add, change, remove, decide about host keys. Each change leaves an audit event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.http import HttpRequest
from django.utils import timezone

from agents.ssh.keys import HostKey as FoundKey
from agents.ssh.keys import make_key_pair
from backupsite import vault
from backupsite.accounts import audit
from backupsite.fleet.jump_hosts import find_jump_host, remove_unused
from backupsite.fleet.models import Device, HostKey, JumpHost, SshKey
from backupsite.fleet.names import make_slug

CONSOLE_KEY = "console"


@dataclass(frozen=True)
class Actor:
    """Who does something, and from which address."""

    name: str
    address: str = ""


def actor_of(request: HttpRequest) -> Actor:
    """Given a request, return the signed-in person."""
    return Actor(request.user.get_username(), str(request.META.get("REMOTE_ADDR", "")))


@dataclass(frozen=True)
class Jump:
    """How a jump host is reached."""

    address: str
    port: int
    user: str


@dataclass(frozen=True)
class Reach:
    """How a device is reached. For the console's own machine only `kind` says something."""

    kind: str
    address: str = ""
    port: int = 22
    user: str = "root"
    jump: Jump | None = None


class DeviceInUse(Exception):
    """The device has restore points or a repository: removing it would lose what protects it."""


def private_key_owner(key: SshKey) -> str:
    """Given a key pair, return the owner string that its private half is sealed with (backupsite.vault)."""
    return f"fleet.SshKey:{key.pk}:sealed_private_key"


def console_ssh_key() -> SshKey:
    """Return the console's key pair; make it at the first call. Safe when two requests ask at once.

    Raise VaultError when there is no public key to seal with.
    """
    key = SshKey.objects.filter(name=CONSOLE_KEY).first()
    if key is not None:
        return key
    pair = make_key_pair("hotfleet")
    try:
        with transaction.atomic():
            key = SshKey.objects.create(
                name=CONSOLE_KEY, public_line=pair.public_line, sealed_private_key=b""
            )
            # The owner needs the row's number, so the row comes first; nobody sees it before the commit.
            key.sealed_private_key = vault.seal(private_key_owner(key), pair.private_key)
            key.save(update_fields=["sealed_private_key"])
    except IntegrityError:
        return SshKey.objects.get(name=CONSOLE_KEY)
    return key


@transaction.atomic
def create_device(actor: Actor, name: str, reach: Reach) -> Device:
    """Create a device with checked values and return it. Raise IntegrityError when the name is taken."""
    stem = make_slug(name, (), fallback="device")
    taken = set(Device.objects.filter(slug__startswith=stem).values_list("slug", flat=True))
    is_local = reach.kind == Device.LOCAL
    device = Device.objects.create(
        name=name,
        slug=make_slug(name, taken, fallback="device"),
        reach=reach.kind,
        address="" if is_local else reach.address,
        port=reach.port,
        user="root" if is_local else reach.user,
        ssh_key=None if is_local else console_ssh_key(),
        jump_host=None if is_local else _jump_host_of(reach),
    )
    audit.record(actor.name, "device.add", str(device), _describe(device), address=actor.address)
    return device


def _jump_host_of(reach: Reach) -> JumpHost | None:
    return (
        None if reach.jump is None else find_jump_host(reach.jump.address, reach.jump.port, reach.jump.user)
    )


def has_moved(device: Device, reach: Reach) -> bool:
    """Return whether another way leads to a device over SSH: it must then be looked at again. Another user of
    the device or of its jump host is no other way."""
    if device.is_local:
        return False
    before, after = device.jump_host, reach.jump
    return (device.address, device.port, before and (before.address, before.port)) != (
        reach.address,
        reach.port,
        after and (after.address, after.port),
    )


@transaction.atomic
def change_device(
    actor: Actor,
    device: Device,
    name: str,
    reach: Reach,
    *,
    criticality: str | None = None,
    is_always_on: bool | None = None,
) -> None:
    """Give a device another name, way or criticality, or say that it is switched off at times. Its address in
    the console (slug) stays.

    When the way changes, the host key must be looked at again: an approved key belongs to one address.
    """
    before = _describe(device)
    moved = has_moved(device, reach)
    device.name = name
    if not device.is_local:
        device.address, device.port, device.user = reach.address, reach.port, reach.user
        device.jump_host = _jump_host_of(reach)
    if criticality is not None:
        device.criticality = criticality
    if is_always_on is not None:
        device.is_always_on = is_always_on
    written = ["name", "address", "port", "user", "jump_host", "criticality", "is_always_on"]
    device.save(update_fields=written)
    remove_unused()
    if moved:
        device.host_keys.filter(state=HostKey.APPROVED).update(
            state=HostKey.RETIRED, decided_at=timezone.now(), decided_by=actor.name
        )
    detail = {**_describe(device), **{f"{field}_before": value for field, value in before.items()}}
    audit.record(actor.name, "device.change", str(device), detail, address=actor.address)


@transaction.atomic
def retire_device(actor: Actor, device: Device, *, is_retired: bool, now: datetime) -> bool:
    """Take a device out of service, or back into it; return False when it is so already. Nothing of its
    history goes."""
    rows = Device.objects.filter(pk=device.pk, retired_at__isnull=is_retired)
    if not rows.update(retired_at=now if is_retired else None):
        return False
    verb = "device.retire" if is_retired else "device.return"
    audit.record(actor.name, verb, str(device), {}, address=actor.address)
    return True


@transaction.atomic
def remove_device(actor: Actor, device: Device) -> None:
    """Remove a device with its runs and host keys. Raise DeviceInUse when restore points protect it."""
    name, detail = str(device), _describe(device)
    try:
        with transaction.atomic():
            device.delete()
    except ProtectedError as error:
        raise DeviceInUse(name) from error
    remove_unused()
    audit.record(actor.name, "device.remove", name, detail, address=actor.address)


@transaction.atomic
def note_host_keys(owner: Device | JumpHost, keys: list[FoundKey]) -> int:
    """Given what a scan found on a device or a jump host, store it and return how many keys wait.

    A known approved key stays approved. A retired one that is shown again waits again: the person decides
    anew, with the fingerprint in front of them.
    """
    for found in keys:
        key, created = owner.host_keys.get_or_create(
            fingerprint=found.fingerprint,
            defaults={"key_type": found.key_type, "blob": found.blob},
        )
        if not created and key.state == HostKey.RETIRED:
            key.state = HostKey.PENDING
            key.save(update_fields=["state"])
    return owner.host_keys.filter(state=HostKey.PENDING).count()


@transaction.atomic
def approve_host_key(actor: Actor, key: HostKey) -> bool:
    """Approve a key that waits; approved ones of its type retire. False when it no longer waits."""
    now = timezone.now()
    decided = HostKey.objects.filter(pk=key.pk, state=HostKey.PENDING).update(
        state=HostKey.APPROVED, decided_at=now, decided_by=actor.name
    )
    if decided != 1:
        return False
    others = HostKey.objects.filter(
        device=key.device_id, jump_host=key.jump_host_id, key_type=key.key_type, state=HostKey.APPROVED
    )
    others.exclude(pk=key.pk).update(state=HostKey.RETIRED, decided_at=now, decided_by=actor.name)
    _record_decision(actor, "hostkey.approve", key)
    return True


@transaction.atomic
def refuse_host_key(actor: Actor, key: HostKey) -> bool:
    """Refuse a key that waits: it is retired and never trusted. False when it no longer waits."""
    decided = HostKey.objects.filter(pk=key.pk, state=HostKey.PENDING).update(
        state=HostKey.RETIRED, decided_at=timezone.now(), decided_by=actor.name
    )
    if decided == 1:
        _record_decision(actor, "hostkey.refuse", key)
    return decided == 1


def _record_decision(actor: Actor, verb: str, key: HostKey) -> None:
    detail = {"type": key.key_type, "fingerprint": key.fingerprint}
    subject = str(key.device) if key.jump_host is None else f"jump host {key.jump_host}"
    audit.record(actor.name, verb, subject, detail, address=actor.address)


def _describe(device: Device) -> dict[str, str | int]:
    said: dict[str, str | int] = {
        "name": device.name,
        "criticality": device.criticality,
        "is_always_on": device.is_always_on,
    }
    if device.is_local:
        return {**said, "reach": device.reach}
    way: dict[str, str | int] = {
        **said,
        "address": device.address,
        "port": device.port,
        "user": device.user,
    }
    return way if device.jump_host is None else {**way, "jump_host": str(device.jump_host)}
