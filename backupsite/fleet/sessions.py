"""The way to a device, for workers: the web process cannot open the console's private key."""

from __future__ import annotations

from django.conf import settings

from agents.commands import Secret
from agents.errors import HostKeyUnknown, PlanRefused
from agents.local import LocalSession
from agents.session import Session
from agents.ssh import HostKey as PinnedKey
from agents.ssh import Target, connect, fetch_host_keys
from agents.ssh.target import JumpHost as JumpTarget
from backupsite import vault
from backupsite.fleet.devices import private_key_owner
from backupsite.fleet.models import Device, HostKey, JumpHost


def open_session(device: Device) -> Session:
    """Given a device, return an open session. Runs two queries, two more for a jump host, then no more.

    Raise an AgentError that says why it was not reached or not trusted, VaultError when our key is sealed.
    """
    if device.is_local:
        if settings.HOTFLEET_NODE != "console":
            raise PlanRefused(
                f"{device} is the console's own machine, and this is the node {settings.HOTFLEET_NODE}.",
                remedy="Add that machine as a device over SSH too.",
            )
        return LocalSession()
    pinned = _pinned(device)
    if not pinned:
        raise HostKeyUnknown(
            "No host key of this device is approved yet.",
            remedy="Open its connection page, fetch the host key, compare the fingerprint, and approve it.",
        )
    return connect(target_of(device), private_key=_private_key(device), host_keys=pinned)


def fetch_device_keys(device: Device) -> list[PinnedKey]:
    """Given a device, return the host keys that it shows, without signing in there. A jump host on the way is
    passed with the console's key. Raise what `connect` raises."""
    target = target_of(device)
    return fetch_host_keys(target, private_key=None if target.through is None else _private_key(device))


def target_of(device: Device) -> Target:
    """Given a device over SSH, return where it is. Runs two queries for a jump host."""
    way = None if device.jump_host is None else jump_target_of(device.jump_host)
    return Target(device.address, device.port, device.user, way)


def jump_target_of(jump_host: JumpHost) -> JumpTarget:
    """Given a jump host, return where it is, with its approved host keys. Runs one query."""
    keys = tuple(_pinned(jump_host))
    return JumpTarget(jump_host.address, jump_host.port, jump_host.user, host_keys=keys)


def _pinned(owner: Device | JumpHost) -> list[PinnedKey]:
    approved = owner.host_keys.filter(state=HostKey.APPROVED)
    return [PinnedKey(key.key_type, bytes(key.blob)) for key in approved]


def _private_key(device: Device) -> Secret:
    if device.ssh_key is None:
        raise LookupError(f"{device} is reached over SSH and has no key of the console.")
    return vault.unseal(private_key_owner(device.ssh_key), device.ssh_key.sealed_private_key)
